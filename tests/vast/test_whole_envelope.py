"""A usual envelope is opened in one go: what it says is what the way for any envelope says."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.seeds import examples
from tests.vast.envelopes import AUTH_DATA, MAX_COST, auth_data, json_texts, spaces
from vespa.protocol.refusal import Refusal
from vespa.vast.envelope import Envelope
from vespa.vast.whole_envelope import unwrap_any_body, unwrap_body

Verdict = Envelope | tuple[int, str, str, object]

# Texts of numbers, good and bad, that are read by way of a table or not at all.
costs = st.sampled_from(
    [b"0", b"-0", b"1", b"1.0", b"1e2", b"1E+2", b"100.0", b'"100.0"', b"-1", b"1e400", b"01", b"1.", b"NaN", b"null"]
    + [b"true", b"1" * 64, b"0." + b"1" * 63, b"1e9", b"1000000000.1", b'"1_0"', b"\xd9\xa3", b'" 1"', b"[]", b""]
)
limits = st.sampled_from([MAX_COST, 100.0, 99.9, 1.0, 0.0])
damage = st.sampled_from(
    [b"", b'"', b"\\", b"}", b"{", b",", b":", b"0", b"-", b" ", b"\n", b"\xe9", b"\x00", b'"":0,', b'"payload":1,']
    + [b'"session_id":null,', b'"session_id":"s",', b'"auth_data":', b"\\u0061", b"[", b"]", b'"x":"\xff",']
)


def verdict(unwrap: Callable[[bytes, float], Envelope], raw: bytes, max_cost: float) -> Verdict:
    """What is said of a body."""
    try:
        return unwrap(raw, max_cost)
    except Refusal as refusal:
        return refusal.status, refusal.code, refusal.message, refusal.fields


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """An envelope in one of the forms that programs write, and often something wrong with it."""
    data: dict[str, Any] = draw(st.just(AUTH_DATA) | auth_data)
    if draw(st.booleans()):
        data = {"__request_id": "é", **data}
    marks = draw(st.sampled_from([(",", ":"), (", ", ": "), (" ,\t", "\n: ")]))
    head = json.dumps(data, separators=marks, ensure_ascii=draw(st.booleans())).encode()
    if draw(st.booleans()):
        written = json.dumps(data["cost"]).encode()
        cost = draw(costs)
        head = head.replace(b'"cost"%b%b' % (marks[1].encode(), written), b'"cost"%b%b' % (marks[1].encode(), cost))
    members = [(b'"auth_data"', head), (b'"payload"', draw(json_texts()).encode())]
    members += draw(st.sampled_from([[], [], [], [(b'"session_id"', b"null")], [(b'"x"', b"1")], [(b'""', b"0")] * 2]))
    if draw(st.booleans()):
        members.reverse()
    colon, comma = marks[1].encode(), marks[0].encode()
    raw = bytearray(b"{" + comma.join(name + colon + value for name, value in members) + b"}")
    raw += draw(spaces).encode()
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(raw)))
        raw[at : at + draw(st.integers(0, 2))] = draw(damage)
    return bytes(raw)


class OneWayTests(SynchronousTestCase):
    @settings(max_examples=examples(500))
    @given(st.lists(st.tuples(bodies(), limits), min_size=1, max_size=4))
    def test_same_verdict(self, asked: list[tuple[bytes, float]]) -> None:
        """Opened in one go or step by step, a body says the same, or is refused in the same words."""
        for raw, max_cost in asked:
            self.assertEqual(verdict(unwrap_body, raw, max_cost), verdict(unwrap_any_body, raw, max_cost), raw)

    def test_every_one_byte_change(self) -> None:
        """So it is for each byte of a usual envelope that is lost, doubled, or turned into another mark."""
        raw = b'{"auth_data": %b, "payload": {"a": "\xc3\xa9"}}' % json.dumps(AUTH_DATA).encode()
        changed = {raw}
        for at in range(len(raw)):
            for piece in (b"", raw[at : at + 1] * 2, *(b"%c" % mark for mark in b'"\\{}[],: 0\xff\x00')):
                changed.add(raw[:at] + piece + raw[at + 1 :])
        for body in changed:
            self.assertEqual(verdict(unwrap_body, body, MAX_COST), verdict(unwrap_any_body, body, MAX_COST), body)

    def test_a_cost_met_before(self) -> None:
        """A cost is checked against the limit of the moment, though its text was met before."""
        raw = b'{"auth_data":%b,"payload":1}' % json.dumps(AUTH_DATA).encode()
        for max_cost, good in ((MAX_COST, True), (99.0, False), (100.0, True), (99.0, False)):
            self.assertEqual(isinstance(verdict(unwrap_body, raw, max_cost), Envelope), good)
            self.assertEqual(verdict(unwrap_body, raw, max_cost), verdict(unwrap_any_body, raw, max_cost))

    def test_many_costs(self) -> None:
        """However many costs were met, each is its own."""
        raw = b'{"auth_data":%b,"payload":1}' % json.dumps(AUTH_DATA).encode()
        for number in range(3000):
            opened = unwrap_body(raw.replace(b"100.0", b"%d.5" % number), MAX_COST)
            self.assertEqual((opened.auth.cost, opened.auth.work), (number + 0.5, number * 1_000_000 + 500_000))

    def test_largest_auth_data(self) -> None:
        """Where auth_data is as large as it may be, and one byte more, the same is said."""
        for size, good in ((16384, True), (16385, False)):
            head = json.dumps(AUTH_DATA | {"more": ""}).encode()
            head = head[:-2] + b"x" * (size - len(head)) + b'"}'
            self.assertEqual(len(head), size)
            raw = b'{"auth_data":%b,"payload":1}' % head
            self.assertEqual(isinstance(verdict(unwrap_body, raw, MAX_COST), Envelope), good)
            self.assertEqual(verdict(unwrap_body, raw, MAX_COST), verdict(unwrap_any_body, raw, MAX_COST))

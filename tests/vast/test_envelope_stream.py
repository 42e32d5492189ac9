from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from attrs import frozen
from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.frames import profiled
from tests.seeds import examples
from tests.vast.test_json_scanner import CUTS, cut, documents
from vespa.protocol.refusal import Refusal
from vespa.vast.envelope import decode_auth
from vespa.vast.envelope_stream import EnvelopeStream
from vespa.vast.whole_envelope import unwrap_body

MAX_COST = 1e9
AUTH = (
    b'{"cost": 100.0, "endpoint": "e", "reqnum": 3, "request_idx": 7, "signature": "c2ln", "url": "https://h:1",'
    b' "__request_id": "\\"}"}'
)
SPACE = st.sampled_from([b"", b"", b" ", b"\n\t", b"\r \n"])
SPELLINGS = {
    "auth_data": [b'"auth_data"', b'"\\u0061uth_data"'],
    "payload": [b'"payload"', b'"pay\\u006coad"', b'"\\u0070ayload"'],
    "session_id": [b'"session_id"', b'"session\\u005fid"'],
}


@frozen
class Parts:
    """An envelope by the bytes that it is made of: what stands before the payload, the payload, and what follows."""

    head: bytes
    payload: bytes
    tail: bytes

    @property
    def body(self) -> bytes:
        return self.head + self.payload + self.tail


@st.composite
def envelopes(draw: st.DrawFn, payloads: st.SearchStrategy[bytes] = documents(1)) -> Parts:  # noqa: B008
    """Envelopes whose payload comes last."""
    members = [(draw(st.sampled_from(SPELLINGS["auth_data"])), AUTH)]
    if draw(st.booleans()):
        session = draw(st.sampled_from([b"null", b'"abc"', b'"\\u00e9\\""']))
        members.append((draw(st.sampled_from(SPELLINGS["session_id"])), session))
    names = draw(st.lists(st.text(max_size=5).filter(lambda name: name not in SPELLINGS), max_size=2, unique=True))
    members += [(json.dumps(name).encode(), draw(documents(0))) for name in names]
    head = draw(SPACE) + b"{"
    for key, value in draw(st.permutations(members)):
        head += draw(SPACE) + key + draw(SPACE) + b":" + draw(SPACE) + value + draw(SPACE) + b","
    head += draw(SPACE) + draw(st.sampled_from(SPELLINGS["payload"])) + draw(SPACE) + b":" + draw(SPACE)
    payload = draw(payloads)
    return Parts(head, payload, draw(SPACE) + b"}" + draw(SPACE))


@st.composite
def mutations(draw: st.DrawFn) -> bytes:
    """Envelopes with something changed somewhere, or much."""
    body = draw(envelopes(documents(0))).body
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(body)))
        stop = min(len(body), start + draw(st.sampled_from([0, 0, 1, 1, 2, 20])))
        patch = draw(
            st.sampled_from(
                [b"", b'"', b"\\", b"\\\\", b"{", b"}", b"[", b"]", b",", b":", b" ", b"1", b"\x00", b"\xff", b"\x0b"]
                + [
                    b'"payload":',
                    b'"x":1,',
                    b',"x":1',
                    b',"session_id":"s"',
                    b'"auth_data":' + AUTH + b",",
                    b"nul",
                    b"-",
                ]
            )
            | st.binary(max_size=2)
        )
        body = body[:start] + patch + body[stop:]
    return body


@frozen
class Verdict:
    """What came of a body: a refusal, or the bytes for the backend and what was found."""

    refusal: tuple[int, str, Mapping[str, str] | None] | None
    passed: bytes
    cost: float | None = None
    session_id: str | None = None
    streamed: bool = False


def verdict(chunks: list[bytes], **options: Any) -> Verdict:
    """Feed the chunks as a caller would, and hold on the way what must hold at any time."""
    unwrapping = EnvelopeStream(MAX_COST, **options)
    passed = bytearray()
    try:
        for chunk in chunks:
            pieces = unwrapping.feed(chunk)
            assert not pieces or (unwrapping.auth is not None and unwrapping.streaming)
            assert all(pieces)
            passed += b"".join(pieces)
        passed += unwrapping.finish() or b""
    except Refusal as refusal:
        return Verdict((refusal.status, refusal.code, refusal.fields), b"")
    assert unwrapping.auth is not None and unwrapping.payload_complete
    return Verdict(None, bytes(passed), unwrapping.auth.cost, unwrapping.session_id, unwrapping.streaming)


def is_json(text: bytes) -> bool:
    """Whether `json` takes this for JSON, in UTF-8 and with none of its own additions."""

    def refuse(name: str) -> None:
        raise ValueError(name)

    try:
        json.loads(text.decode(), parse_constant=refuse, parse_int=float)
    except ValueError:
        return False
    return True


def is_msgspec_json(text: bytes) -> bool:
    """Whether msgspec takes this for JSON."""
    try:
        text.decode()
        msgspec.json.decode(text, type=msgspec.Raw)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return False
    return True


def members(body: bytes) -> list[tuple[str, Any]]:
    """The members of a valid object, in order and with repeats."""
    pairs: list[tuple[str, Any]] = json.loads(body, object_pairs_hook=list)
    return pairs


class TestPayload(SynchronousTestCase):
    @given(envelopes(), CUTS)
    def test_the_payload_is_the_slice_that_parsers_see(self, parts: Parts, sizes: list[int]) -> None:
        """The backend gets the payload byte for byte, as the parser of whole bodies finds it."""
        found = verdict(cut(parts.body, sizes))
        whole = unwrap_body(parts.body, MAX_COST)
        self.assertEqual(found, Verdict(None, parts.payload, 100.0, whole.session_id, True))
        self.assertEqual(whole.payload, parts.payload)

    @given(envelopes(), CUTS, st.permutations(["auth_data", "payload", "session_id"]))
    def test_other_orders_are_kept_for_the_end(self, parts: Parts, sizes: list[int], order: list[str]) -> None:
        """Where the payload comes before auth_data, all of it is returned at the end, as the whole-body parser says."""
        values = {"auth_data": AUTH, "payload": parts.payload, "session_id": b'"s"'}
        body = b"{" + b",".join(b'"%s":%s' % (name.encode(), values[name]) for name in order) + b"}"
        found = verdict(cut(body, sizes))
        if order.index("payload") < order.index("auth_data"):
            self.assertEqual(found, Verdict(None, parts.payload, 100.0, "s", False))
        else:
            self.assertEqual(found, Verdict(None, parts.payload, 100.0, "s", True))

    @given(st.one_of(documents(1), mutations(), st.binary(max_size=50)), CUTS)
    def test_the_envelope_is_json_exactly_when_the_payload_is(self, payload: bytes, sizes: list[int]) -> None:
        """Whatever stands in the payload's place: if it is passed on, it is JSON just if the whole body is."""
        head = b'{"auth_data":' + AUTH + b',"payload":'
        body = head + payload + b"}"
        found = verdict(cut(body, sizes))
        if found.refusal is None:
            self.assertTrue(payload.strip().startswith(found.passed))
            self.assertEqual(is_json(body), is_json(found.passed))
            self.assertEqual(is_msgspec_json(body), is_msgspec_json(found.passed))
        else:
            self.assertFalse(is_json(body) and len({name for name, _ in members(body)}) == len(members(body)))

    @settings(max_examples=examples(300))
    @given(mutations(), CUTS)
    def test_mutations(self, body: bytes, sizes: list[int]) -> None:
        """A changed envelope is accepted exactly if it keeps the rules, or has but a payload that is no JSON.

        What an accepted one says is read by `json`: a change may leave another cost, or another session, that is valid.
        """
        found = verdict(cut(body, sizes))
        if not is_msgspec_json(body):
            if found.refusal is None:
                self.assertFalse(is_msgspec_json(found.passed))
                # Of half a surrogate pair, which a change may leave, json and msgspec think differently.
                self.assertEqual(is_json(found.passed), is_json(body))
            return
        try:
            self.assertTrue(body.strip().startswith(b"{"))
            names = [name for name, _ in members(body)]
            self.assertEqual(sorted(set(names)), sorted(names))
            expected = unwrap_body(body, MAX_COST)
        except (self.failureException, Refusal, ValueError):
            self.assertIsNotNone(found.refusal)
        else:
            said = json.loads(body)
            cost, session_id = float(said["auth_data"]["cost"]), said.get("session_id")
            self.assertEqual(found, Verdict(None, expected.payload, cost, session_id, found.streamed))
            self.assertEqual((expected.auth.cost, expected.session_id), (cost, session_id))


class TestOneView(SynchronousTestCase):
    @given(
        st.sampled_from(["auth_data", "payload", "session_id", "x", ""]),
        st.lists(st.booleans(), min_size=20, max_size=20),
        st.permutations([0, 1, 2]),
        CUTS,
    )
    def test_no_name_comes_twice(self, name: str, escaped: list[bool], order: list[int], sizes: list[int]) -> None:
        """A name that comes twice in any spelling is refused, wherever it stands."""
        spelling = "".join(
            f"\\u{ord(c):04x}" if escape else c for c, escape in zip(name, escaped, strict=False)
        ).encode()
        values = {"auth_data": AUTH, "payload": b"[1]", "session_id": b'"s"'}
        value = values.get(name, b"1")
        one, other = b'"%s":%s' % (name.encode(), value), b'"%s" : %s' % (spelling, value)
        rest = b",".join(b'"%s":%s' % (key.encode(), values[key]) for key in values if key != name)
        pieces = [one, rest, other]
        found = verdict(cut(b"{" + b",".join(pieces[i] for i in order) + b"}", sizes))
        assert found.refusal is not None
        self.assertEqual(found.refusal[:2], (422, "invalid_envelope"))

    @given(documents(1), st.sampled_from(["session_id", "x", "auth_data", "payload", ""]), CUTS, st.booleans())
    def test_what_comes_after_the_payload_is_checked(
        self, payload: bytes, name: str, sizes: list[int], told: bool
    ) -> None:
        """A member after the payload is read as one before it; of two of one name none is believed."""
        value = b'"s"' if name == "session_id" else b'{"a":["}"]}'
        body = b'{"auth_data":' + AUTH + b',"payload":' + payload + b' , "%s" : %s }' % (name.encode(), value)
        found = verdict(cut(body, sizes), **({"content_length": len(body)} if told else {}))
        if name in ("auth_data", "payload"):
            self.assertEqual(found.refusal, (422, "invalid_envelope", {name: "appears more than once"}))
        else:
            self.assertEqual((found.refusal, found.passed.rstrip()), (None, payload.rstrip()))
            self.assertEqual(found.session_id, "s" if name == "session_id" else None)
        for bad in (b",}", b',"x":}', b',"x"}', b',"x":NaN}', b',"x":"\xff"}', b",1}", b",", b"}}", b'},"x":1}'):
            broken = verdict(cut(b'{"auth_data":' + AUTH + b',"payload":' + payload + bad, sizes))
            assert broken.refusal is not None
            self.assertEqual(broken.refusal[:2], (422, "invalid_envelope"))

    @settings(max_examples=examples(300))
    @given(st.one_of(mutations(), envelopes().map(lambda parts: parts.body)), CUTS)
    def test_one_verdict_whatever_the_size(self, body: bytes, sizes: list[int]) -> None:
        """Read whole, as small bodies are, or as it arrives, as large ones are: one verdict, the same bytes."""
        streamed = verdict(cut(body, sizes))
        try:
            envelope = unwrap_body(body, MAX_COST)
        except Refusal as refusal:
            assert streamed.refusal is not None, body
            self.assertEqual(streamed.refusal[:2], (refusal.status, refusal.code))
        else:
            self.assertEqual(streamed.refusal, None)
            said = (envelope.payload, envelope.auth.cost, envelope.session_id)
            self.assertEqual((streamed.passed, streamed.cost, streamed.session_id), said)

    def test_payloads_of_lenient_clients(self) -> None:
        """What JavaScript and Python send that strict parsers refuse passes, whole or as it arrives, in any order."""
        for payload in (b'{"p": "cut \\ud83d"}', b'{"x": NaN}', b"1e999", b"-Infinity", b'"\xff"', b'"\x01"', b"[1,]"):
            for body in (
                b'{"auth_data":%s,"session_id":null,"payload":%s}' % (AUTH, payload),
                b'{"auth_data":%s,"payload":%s,"session_id":null}' % (AUTH, payload),
                b'{"payload":%s,"auth_data":%s,"session_id":null}' % (payload, AUTH),
            ):
                self.assertEqual(unwrap_body(body, MAX_COST).payload, payload)
                self.assertEqual(verdict(cut(body, [7])).passed, payload)

    @given(envelopes())
    def test_nothing_is_yielded_early_or_after_the_end(self, parts: Parts) -> None:
        """At each byte: nothing before auth_data is known, then just the payload's part of it, then nothing."""
        unwrapping = EnvelopeStream(MAX_COST)
        known = parts.head.index(AUTH) + len(AUTH)
        for place in range(len(parts.body)):
            pieces = unwrapping.feed(parts.body[place : place + 1])
            inside = len(parts.head) <= place < len(parts.head) + len(parts.payload)
            self.assertEqual(b"".join(pieces), parts.body[place : place + 1] if inside else b"")
            self.assertEqual(unwrapping.auth is not None, place + 1 >= known)
            self.assertEqual(unwrapping.streaming, place >= len(parts.head))
        self.assertIsNone(unwrapping.finish())
        self.assertEqual(unwrapping.padding, 0)

    def test_auth_is_known_though_the_same_chunk_is_refused(self) -> None:
        """An error after auth_data is reported after auth_data is checked, as if auth_data were a chunk of its own."""
        unwrapping = EnvelopeStream(MAX_COST)
        self.assertRaises(Refusal, unwrapping.feed, b'{"auth_data":' + AUTH + b",,")
        self.assertEqual(unwrapping.auth, decode_auth(AUTH, MAX_COST))

    def test_a_wrong_member_is_named(self) -> None:
        """A refusal names the field that is wrong."""
        for body, names in (
            (b"{}", {"auth_data", "payload"}),
            (b'{"auth_data":' + AUTH + b"}", {"payload"}),
            (b'{"auth_data": 1, "payload": 2}', {"auth_data"}),
            (b'{"auth_data": {"cost": -1}, "payload": 2}', {"auth_data.cost", "auth_data.endpoint", "auth_data.url"}),
            (b'{"auth_data":' + AUTH + b',"session_id":5,"payload": 2}', {"session_id"}),
            (b'{"x":"\xff","auth_data":' + AUTH + b',"payload": 2}', {"x"}),
            (b'{"x":' + b"[" * 30_000 + b"]" * 30_000 + b',"auth_data":' + AUTH + b',"payload": 2}', {"x"}),
        ):
            refusal = verdict([body]).refusal
            assert refusal is not None and refusal[2] is not None
            self.assertEqual(refusal[0], 422)
            self.assertLessEqual(names, set(refusal[2]), body[:50])


class TestSplits(SynchronousTestCase):
    @given(st.one_of(envelopes().map(lambda parts: parts.body), mutations()), CUTS, st.booleans())
    def test_the_verdict_does_not_depend_on_the_cuts(self, body: bytes, sizes: list[int], told: bool) -> None:
        """The verdict, and what the backend gets, are the same for all chunks, with a length told or not."""
        options = {"content_length": len(body)} if told else {}
        self.assertEqual(verdict(cut(body, sizes), **options), verdict([body], **options))

    @settings(max_examples=examples(30))
    @given(st.one_of(envelopes(st.just(b'{"a": "\\\\\\""}')).map(lambda parts: parts.body[:1200]), mutations()))
    def test_every_cut_in_two(self, body: bytes) -> None:
        """Cut in two at any place, a body gets the same verdict."""
        body = body[:1500]
        whole = verdict([body])
        told = verdict([body], content_length=len(body))
        for place in range(len(body) + 1):
            self.assertEqual(verdict([body[:place], body[place:]]), whole)
            self.assertEqual(verdict([body[:place], b"", body[place:]], content_length=len(body)), told)

    @given(envelopes(), mutations(), st.integers(50, 600), st.integers(20, 200), st.integers(1, 4), CUTS, st.booleans())
    def test_limits_are_places_in_the_body(
        self, parts: Parts, mutation: bytes, head: int, auth: int, keys: int, sizes: list[int], good: bool
    ) -> None:
        """At the limits, too, the result does not depend on the cuts."""
        body = parts.body if good else mutation
        limits = {"max_head": head, "max_auth": auth, "max_keys": keys, "max_unverified": head}
        self.assertEqual(verdict(cut(body, sizes), **limits), verdict([body], **limits))


class TestLimits(SynchronousTestCase):
    def statuses(self, body: Callable[[int], bytes], **limits: int) -> None:
        """One byte less than too much is accepted, one more is 413, in one chunk or in many."""
        for size, status in ((0, None), (1, (413, "body_too_large", None))):
            for step in (1, 10, 10**6):
                self.assertEqual(verdict(cut(body(size), [step]), **limits).refusal, status)

    def test_what_stands_before_the_payload_is_bounded(self) -> None:
        """The payload's first byte is within max_head."""
        start = b'{"auth_data":' + AUTH + b',"payload":'
        self.statuses(lambda more: start + b" " * (1000 - len(start) - 1 + more) + b"1}", max_head=1000)
        names = b'{"x":"", "auth_data":' + AUTH + b',"payload":'
        text = 1000 - len(names) - 1
        self.statuses(lambda more: names.replace(b'""', b'"%s"' % (b"x" * (text + more))) + b"1}", max_head=1000)

    def test_what_stands_after_the_payload_is_bounded(self) -> None:
        """Padding is never more than max_head."""
        start = b'{"auth_data":' + AUTH + b',"payload":1'
        self.statuses(lambda more: start + b" " * (500 + more) + b"}" + b" " * 499, max_head=1000)

    def test_auth_data_is_bounded(self) -> None:
        """auth_data has at most max_auth bytes."""
        auth = AUTH[:-1] + b',"x":"%s"}'
        size = 1000 - len(auth) + 2
        for more, refusal in ((0, None), (1, (422, "invalid_envelope", {"auth_data": "must be at most 1000 bytes"}))):
            body = b'{"auth_data":%s,"payload":1}' % (auth % (b"x" * (size + more)))
            for step in (1, 10, 10**6):
                self.assertEqual(verdict(cut(body, [step]), max_auth=1000).refusal, refusal)

    def test_keys_are_bounded(self) -> None:
        """There are at most max_keys names up to the payload's own."""
        for extra, refused in ((6, False), (7, True)):
            names = b"".join(b'"%d":0,' % i for i in range(extra))
            found = verdict([b"{" + names + b'"auth_data":' + AUTH + b',"payload":1}'], max_keys=8)
            self.assertEqual(found.refusal is not None, refused)

    def test_a_body_that_is_kept_may_be_longer_than_a_head(self) -> None:
        """Where the payload comes before auth_data, only its beginning has to be within max_head."""
        payload = b'"%s"' % (b"x" * 5000)
        body = b'{"payload":%s,"auth_data":%s}' % (payload, AUTH)
        for step in (1, 70, 101, 10**6):
            self.assertEqual(verdict(cut(body, [step]), max_head=100).passed, payload)

    def test_an_unverified_body_is_bounded(self) -> None:
        """A body whose payload comes before auth_data has at most max_unverified bytes."""
        rest = b',"auth_data":' + AUTH + b"}"
        size = 3000 - len(rest) - len(b'{"payload":""')
        self.statuses(lambda more: b'{"payload":"%s"%s' % (b"x" * (size + more), rest), max_unverified=3000)


class TestCost(SynchronousTestCase):
    def calls(self, chunks: list[bytes]) -> int:
        """How many functions, of Python or C, unwrapping these chunks calls."""
        count = 0

        def profile(frame: object, event: str, argument: object) -> None:
            nonlocal count
            count += event in ("call", "c_call")

        profiled(profile, verdict, chunks)
        return count

    def test_work_is_linear_in_the_body(self) -> None:
        """Twice the chunks are at most twice the calls, each of which looks at one window at most."""
        start = b'{"auth_data":' + AUTH + b',"payload":['
        for chunk in (b'"abc",' * 20, b"[]," * 50, b'"' + b"\\\\" * 100 + b'",', b"[" * 100 + b"]" * 100 + b",", b" "):
            short, long = (self.calls([start, *[chunk] * count, b"0]}"]) for count in (500, 1000))
            self.assertLess(long, 2 * short)
        for chunk in (b" ", b'"x":[0,"y"]'):
            short, long = (self.calls([b"{", *[chunk] * count]) for count in (500, 1000))
            self.assertLess(long, 2 * short + 100)

    def test_memory_is_constant(self) -> None:
        """No part of a payload is kept, whatever its length; of a head, at most its limit."""
        for begin, chunk in (
            (b'"', b"a" * 65536),
            (b"[", b"[" * 65536),
            (b"[", b'{"a":1},' * 8192),
            (b"", b"1" * 65536),
        ):
            unwrapping = EnvelopeStream(MAX_COST)
            tracemalloc.start()
            try:
                unwrapping.feed(b'{"auth_data":' + AUTH + b',"payload":' + begin)
                before = tracemalloc.get_traced_memory()[0]
                for _ in range(64):
                    self.assertEqual(unwrapping.feed(chunk), [chunk])
                left, peak = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
            self.assertLess(left - before, 2000)
            self.assertLess(peak - before, 40 * 65536)
        unwrapping = EnvelopeStream(MAX_COST)
        tracemalloc.start()
        try:
            self.assertRaises(Refusal, unwrapping.feed, b" " * 10_000_000)
            self.assertLess(tracemalloc.get_traced_memory()[0], 10_000_000 + 300_000)
        finally:
            tracemalloc.stop()

    @given(envelopes(), CUTS, st.booleans())
    def test_nothing_is_copied(self, parts: Parts, sizes: list[int], told: bool) -> None:
        """A chunk wholly inside the payload is passed on as the same object, a part of one as a view of it."""
        unwrapping = EnvelopeStream(MAX_COST, content_length=len(parts.body) if told else None)
        start = 0
        for chunk in cut(parts.body, sizes):
            stop = start + len(chunk)
            pieces = unwrapping.feed(chunk)
            last = len(parts.head) + len(parts.payload)
            if told and len(parts.tail) == 1:
                last -= 1
            if start >= len(parts.head) and stop <= last:
                self.assertIs(pieces[0], chunk)
            for piece in pieces:
                self.assertTrue(piece is chunk or (isinstance(piece, memoryview) and piece.obj is chunk))
            self.assertEqual(len(pieces), max(start, len(parts.head)) < min(stop, last))
            start = stop


class TestCompletion(SynchronousTestCase):
    @given(envelopes(), CUTS)
    def test_the_told_length_is_kept(self, parts: Parts, sizes: list[int]) -> None:
        """With the body's length known, the backend is told one, and gets as much: the payload, and white space."""
        unwrapping = EnvelopeStream(MAX_COST, content_length=len(parts.body))
        passed = bytearray()
        length = None
        for chunk in cut(parts.body, sizes):
            passed += b"".join(unwrapping.feed(chunk))
            if unwrapping.streaming:
                self.assertIn(length, (None, unwrapping.payload_length(len(parts.body))))
                length = unwrapping.payload_length(len(parts.body))
        assert length is not None
        self.assertLess(len(passed), length)
        self.assertEqual(unwrapping.padding, length - len(parts.payload))
        passed += unwrapping.finish() or b""
        self.assertEqual(len(passed), length)
        self.assertEqual(passed, parts.payload.ljust(length))

    @given(
        envelopes(),
        st.sampled_from([b"", b" ", b"]", b"}}", b"} x", b",", b'"', b"\\", b"}\x00", b'} {"auth_data"', b"\x0b}"]),
        CUTS,
    )
    @example(Parts(b'{"auth_data":' + AUTH + b',"payload":', b"1", b""), b"}}", [1])
    def test_no_request_is_complete_before_the_end_was_checked(
        self, parts: Parts, tail: bytes, sizes: list[int]
    ) -> None:
        """After a payload that is wrongly followed, the last byte of the told length is never passed on."""
        body = parts.head + parts.payload + tail
        unwrapping = EnvelopeStream(MAX_COST, content_length=len(body))
        passed = 0

        def run() -> None:
            nonlocal passed
            for chunk in cut(body, sizes):
                passed += sum(map(len, unwrapping.feed(chunk)))
            unwrapping.finish()

        with self.assertRaises(Refusal) as raised:
            run()
        self.assertEqual(raised.exception.status, 422)
        self.assertLess(passed, max(1, len(body) - len(parts.head) - 1))
        refusal = verdict(cut(body, sizes)).refusal
        assert refusal is not None
        self.assertEqual(refusal[0], 422)

    @given(envelopes(), st.data())
    def test_a_body_cut_short_is_refused(self, parts: Parts, data: st.DataObject) -> None:
        """A body that ends before its closing brace is refused, wherever that is."""
        end = len(parts.body.rstrip())
        place = data.draw(st.integers(0, end - 1))
        for options in ({}, {"content_length": place}, {"content_length": len(parts.body)}):
            refusal = verdict([parts.body[:place]], **options).refusal
            assert refusal is not None
            self.assertEqual(refusal[:2], (422, "invalid_envelope"))

    def test_a_length_that_was_not_kept_is_refused(self) -> None:
        """A body with another length than was told is refused, since the backend was told one by it."""
        body = b'{"auth_data":' + AUTH + b',"payload":[1, 2] } '
        for wrong in (-3, -2, -1, 1, 2):
            self.assertIsNotNone(verdict([body], content_length=len(body) + wrong).refusal)
        self.assertIsNone(verdict([body], content_length=len(body)).refusal)

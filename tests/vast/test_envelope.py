from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.vast.envelopes import AUTH_DATA, MAX_COST, an_auth, auth_data, fields, json_texts, spaces, texts
from vespa.protocol.refusal import Refusal
from vespa.vast.envelope import Envelope, decode_auth, decode_session_id, looks_like_envelope
from vespa.vast.whole_envelope import unwrap_body


def body(**members: Any) -> bytes:
    """An envelope with AUTH_DATA and a payload, unless told otherwise."""
    return json.dumps({"auth_data": AUTH_DATA, "payload": {"a": 1}} | members).encode()


def with_auth(**changes: Any) -> bytes:
    """An envelope with some of AUTH_DATA changed."""
    return body(auth_data=AUTH_DATA | changes)


def refused(raw: bytes, max_cost: float = MAX_COST) -> dict[str, str]:
    """The refusal's fields for a body."""
    try:
        unwrap_body(raw, max_cost)
    except Refusal as refusal:
        return fields(refusal)
    raise AssertionError("accepted")


def unescaped(name: str) -> str:
    """A JSON string for a name."""
    return json.dumps(name)


def escaped(name: str) -> str:
    """Another JSON string for it."""
    return '"' + "".join(f"\\u{ord(letter):04x}" for letter in name) + '"'


@st.composite
def objects(draw: st.DrawFn, members: list[tuple[str, str]]) -> bytes:
    """A JSON object of these members (names and values as JSON texts), in any order and with any white space."""
    parts = []
    for name, value in draw(st.permutations(members)):
        parts.append(draw(spaces) + name + draw(spaces) + ":" + draw(spaces) + value + draw(spaces))
    return (draw(spaces) + "{" + ",".join(parts) + "}" + draw(spaces)).encode()


class GoodEnvelopeTests(SynchronousTestCase):
    @given(st.data(), auth_data, json_texts(), st.none() | texts, st.dictionaries(texts, texts, max_size=3))
    def test_payload_untouched(
        self, data: st.DataObject, head: dict[str, Any], payload: str, session: str | None, more: dict[str, str]
    ) -> None:
        """The payload is the exact slice of the body, whatever order, white space and other members there are."""
        extras = {name: value for name, value in more.items() if name not in ("auth_data", "payload", "session_id")}
        members = [
            ('"auth_data"', data.draw(json_texts(st.just(more | head)))),
            ('"payload"', payload),
            ('"session_id"', json.dumps(session)),
            *((json.dumps(name, ensure_ascii=False), json.dumps(value)) for name, value in extras.items()),
        ]
        if session is None and data.draw(st.booleans()):
            del members[2]
        envelope = unwrap_body(data.draw(objects(members)), MAX_COST)
        self.assertEqual(envelope, Envelope(an_auth(**head), payload.encode(), session))

    def test_ways_of_the_official_client(self) -> None:
        """The whole response of /route/ may be in auth_data, and numbers and letters of the payload stay as written."""
        raw = (
            '{"auth_data": {"__request_id": "é", "cost": 1.50, "endpoint": "chat", "reqnum": 7, "request_idx": 42, '
            '"signature": "c2lnbmVk", "url": "u"}, "payload": {"b":1.50,  "a": "é\\u00e9"}}\n'
        )
        envelope = unwrap_body(raw.encode(), MAX_COST)
        self.assertEqual(envelope.payload, '{"b":1.50,  "a": "é\\u00e9"}'.encode())
        self.assertEqual(envelope.auth.lexemes, (b"1.50", b"7", b"42"))

    def test_cost_in_a_string(self) -> None:
        """A cost may be a string that holds a number; what is signed then is the string."""
        for text in ("100.0", "1e2"):
            auth = unwrap_body(with_auth(cost=text), MAX_COST).auth
            self.assertEqual((auth.cost, auth.work), (100.0, 100_000_000))
            self.assertEqual(auth.lexemes[0], json.dumps(text).encode())

    def test_payload_is_not_checked(self) -> None:
        """Invalid UTF-8 and repeated names in the payload are left to the backend."""
        for payload in (
            b'"\xff"',
            b'{"a":1,"a":2}',
            b"null",
            b'""',
            b'{"p": "cut \\ud83d"}',
            b'{"x": NaN}',
            b"-Infinity",
            b"1e999",
            b"[1,]",
            b'{"a" "b"}',
            b'"\n"',
        ):
            raw = b'{"payload":%s,"auth_data":%s}' % (payload, json.dumps(AUTH_DATA).encode())
            self.assertEqual(unwrap_body(raw, MAX_COST).payload, payload)

    def test_zero(self) -> None:
        """Work may cost nothing."""
        self.assertEqual(unwrap_body(with_auth(cost=0), MAX_COST).auth.work, 0)


class OneViewTests(SynchronousTestCase):
    """Of two members of one name, one reader sees the first and another the last: there must be only one."""

    @given(st.data())
    def test_names_once(self, data: st.DataObject) -> None:
        """A body is refused exactly if two names are equal once decoded, or one that is needed is missing."""
        head = json.dumps(AUTH_DATA)
        pool = {"auth_data": [head, head + " "], "payload": ["1", "12", "1.5", "{}", '""'], "session_id": ["null"]}
        pool |= {"": ["0", "[]"], "n": ["1", "12", "1e2", "[]", "true"]}
        needed = data.draw(st.sampled_from([["auth_data", "payload"], ["auth_data", "payload"], []]))
        names = needed + data.draw(st.lists(st.sampled_from(sorted(pool)), max_size=4))
        write = st.sampled_from([unescaped, escaped])
        members = [(data.draw(write)(name), data.draw(st.sampled_from(pool[name]))) for name in names]
        raw = data.draw(objects(members))
        if len(set(names)) == len(names) and {"auth_data", "payload"} <= set(names):
            payload = members[names.index("payload")][1]
            self.assertEqual(unwrap_body(raw, MAX_COST), Envelope(an_auth(), payload.encode(), None))
        else:
            refused(raw)

    def test_shortest_repetitions(self) -> None:
        """The least room that a repetition takes is noticed, and the name is told."""
        head = json.dumps(AUTH_DATA)
        for raw, name in [
            (f'{{"auth_data":{head},"payload":1,"payload":1}}', "payload"),
            (f'{{"payload":12,"auth_data":{head},"payload":1}}', "payload"),
            (f'{{"payload":{{}},"auth_data":{head},"payload":1}}', "payload"),
            (f'{{"payload":"1","auth_data":{head},"payload":1}}', "payload"),
            (f'{{"auth_data":{head},"payload":1,"auth_data":{head}}}', "auth_data"),
            (f'{{"auth_data":{head},"\\u0061uth_data":{head},"payload":1}}', "auth_data"),
            (f'{{"auth_data":{head},"payload":1,"session_id":"","session_id":null}}', "session_id"),
            (f'{{"":0,"":0,"auth_data":{head},"payload":1}}', ""),
        ]:
            self.assertEqual(refused(raw.encode()), {name: "appears more than once"})

    def test_many_members(self) -> None:
        """A body of more than 64 members is refused."""
        self.assertEqual(unwrap_body(body(**{str(n): n for n in range(62)}), MAX_COST).auth, an_auth())
        self.assertIn("body", refused(body(**{str(n): n for n in range(63)})))

    def test_name_that_is_no_utf8(self) -> None:
        """A name that cannot be compared is refused."""
        raw = body()
        self.assertIn("body", refused(raw[:-1] + b',"\xff":0}'))


class BadEnvelopeTests(SynchronousTestCase):
    def test_not_an_object(self) -> None:
        """A body that is not a JSON object is refused."""
        deep = b'{"auth_data":1,"payload":' + b"[" * 100_000
        for raw in (b"", b" ", b"[]", b"null", b"1", b'"x"', b"{", b"\xef\xbb\xbf{}", b"{'a':1}"):
            self.assertEqual(refused(raw), {})
        self.assertEqual(set(refused(b"{}{}")), {"auth_data", "payload"})
        self.assertEqual(list(refused(deep)), ["auth_data"])
        self.assertEqual(refused(body().decode().encode("utf-16")), {})
        self.assertEqual(refused(body()[:-1]), {})
        self.assertEqual(refused(body() + b"x"), {})

    def test_bombs(self) -> None:
        """Depth is not followed anywhere; in the payload it is the backend's affair, elsewhere refused."""
        bomb = b"[" * 100_000 + b"]" * 100_000
        raw = b'{"auth_data":%s,"%s":%s}'
        head = json.dumps(AUTH_DATA).encode()
        self.assertEqual(refused(raw % (head, b"other", bomb)), {"other": "is not valid JSON"})
        self.assertEqual(list(refused(raw % (bomb, b"payload", b"1"))), ["auth_data"])
        self.assertEqual(unwrap_body(raw % (head, b"payload", bomb), MAX_COST).payload, bomb)

    def test_missing_members(self) -> None:
        """auth_data and payload are needed."""
        self.assertEqual(refused(b"{}"), {"auth_data": "is missing", "payload": "is missing"})
        self.assertEqual(refused(json.dumps({"auth_data": AUTH_DATA}).encode()), {"payload": "is missing"})
        self.assertEqual(refused(b'{"payload":1}'), {"auth_data": "is missing"})

    def test_missing_fields(self) -> None:
        """Each field that auth_data lacks is named."""
        self.assertEqual(refused(body(auth_data={})), {f"auth_data.{name}": "is missing" for name in AUTH_DATA})
        for name in AUTH_DATA:
            rest = {k: v for k, v in AUTH_DATA.items() if k != name}
            self.assertEqual(refused(body(auth_data=rest)), {f"auth_data.{name}": "is missing"})

    def test_wrong_fields(self) -> None:
        """Each field of a wrong kind, out of bounds, or too long is named."""
        whole: list[Any] = [None, True, "1", 1.0, 1.5, 2**63, -(2**63) - 1, 10**400, [], {}]
        text: list[Any] = [None, True, 1, [], {}, "x" * 5000]
        cost: list[Any] = [
            None,
            True,
            [],
            {},
            "",
            "x",
            "NaN",
            "1_0",
            "٣",
            " 1",
            -1,
            -0.5,
            "-1",
            1e10,
            "1e10",
            10**400,
            "1" * 100,
        ]
        for name, wrongs in [("reqnum", whole), ("request_idx", whole), ("cost", cost)] + [
            (name, text) for name in ("endpoint", "signature", "url")
        ]:
            for wrong in wrongs:
                self.assertEqual(list(refused(with_auth(**{name: wrong}))), [f"auth_data.{name}"], (name, wrong))

    def test_numbers_that_are_no_json(self) -> None:
        """NaN and the infinities are no JSON."""
        for number in (float("nan"), float("inf"), -float("inf")):
            self.assertEqual(list(refused(with_auth(cost=number))), ["auth_data"])

    def test_all_at_once(self) -> None:
        """One response names all mistakes."""
        raw = json.dumps({"auth_data": dict.fromkeys(AUTH_DATA), "session_id": 5}).encode()
        self.assertEqual(set(refused(raw)), {"payload", "session_id"} | {f"auth_data.{name}" for name in AUTH_DATA})

    def test_auth_data_that_is_no_object(self) -> None:
        """auth_data is an object."""
        values: tuple[Any, ...] = (None, [], "x", 1)
        for wrong in values:
            self.assertEqual(list(refused(body(auth_data=wrong))), ["auth_data"])

    def test_auth_data_in_utf8(self) -> None:
        """All of auth_data is UTF-8, what we do not look at included."""
        raw = with_auth(extra="@")
        self.assertEqual(list(refused(raw.replace(b"@", b"\xff"))), ["auth_data"])
        self.assertEqual(list(refused(raw.replace(b"extra", b"\xff"))), ["auth_data"])
        self.assertEqual(list(refused(raw.replace(b"chat", b"\xff"))), ["auth_data"])

    def test_large_auth_data(self) -> None:
        """auth_data has a limit of its own."""
        self.assertEqual(list(refused(with_auth(extra="x" * 17000))), ["auth_data"])

    def test_session_id(self) -> None:
        """session_id is a string or null."""
        self.assertEqual(unwrap_body(body(session_id="abc"), MAX_COST).session_id, "abc")
        self.assertIs(unwrap_body(body(session_id=None), MAX_COST).session_id, None)
        values: tuple[Any, ...] = (1, True, [], {}, "x" * 5000)
        for wrong in values:
            self.assertEqual(list(refused(body(session_id=wrong))), ["session_id"])

    @given(st.data(), auth_data, json_texts())
    def test_mutations(self, data: st.DataObject, head: dict[str, Any], payload: str) -> None:
        """A damaged body is refused with 422 or is still JSON, whose auth_data is the one that was read."""
        raw = bytearray(
            b'{"auth_data":%s,"session_id":"s","payload":%s}' % (json.dumps(head).encode(), payload.encode())
        )
        for _ in range(data.draw(st.integers(min_value=1, max_value=3))):
            at = data.draw(st.integers(min_value=0, max_value=len(raw)))
            cut = data.draw(st.integers(min_value=0, max_value=2))
            raw[at : at + cut] = data.draw(
                st.sampled_from([b"", b'"', b"\\", b"}", b"{", b",", b"0", b"-", b" ", b"\xe9"])
            )
        try:
            envelope = unwrap_body(bytes(raw), MAX_COST)
        except Refusal as refusal:
            fields(refusal)
            return
        try:
            whole = json.loads(raw.decode("utf-8", "replace"))
        except ValueError:  # the payload's fault, and not ours to find
            self.assertRaises(ValueError, json.loads, envelope.payload.decode("utf-8", "replace"))
            return
        self.assertEqual(json.loads(envelope.payload.decode("utf-8", "replace")), whole["payload"])
        for name in ("endpoint", "reqnum", "request_idx", "signature", "url"):
            self.assertEqual(getattr(envelope.auth, name), whole["auth_data"][name])
        self.assertEqual(envelope.auth.cost, float(whole["auth_data"]["cost"]))


class PartsTests(SynchronousTestCase):
    def test_auth(self) -> None:
        """auth_data alone is read as it is within a body."""
        self.assertEqual(decode_auth(json.dumps(AUTH_DATA).encode(), MAX_COST), an_auth())
        for raw in (b"1", b"{}", b'{"":"\xff"}', json.dumps(AUTH_DATA | {"cost": -1}).encode()):
            alone = self.assertRaises(Refusal, decode_auth, raw, MAX_COST)
            self.assertEqual(fields(alone), refused(b'{"auth_data":%s,"payload":1}' % raw))
        for raw in (b"", b"\xff", b"[" * 9000):
            self.assertEqual(list(fields(self.assertRaises(Refusal, decode_auth, raw, MAX_COST))), ["auth_data"])

    def test_session_id(self) -> None:
        """session_id alone is read as it is within a body."""
        self.assertEqual(decode_session_id(b'"a\\u0062"'), "ab")
        self.assertIs(decode_session_id(b"null"), None)
        self.assertEqual(list(fields(self.assertRaises(Refusal, decode_session_id, b"1"))), ["session_id"])

    def test_looks_like_envelope(self) -> None:
        """An object with an auth_data looks like an envelope, good or bad; the words alone do not."""
        for raw in (body(), b'{"auth_data":1}', b'{"x":1, "\\u0061uth_data":null}'):
            self.assertTrue(looks_like_envelope(raw))
        for raw in (
            b"",
            b'{"x":"auth_data"}',
            b'{"x":{"auth_data":1}}',
            b'["auth_data"]',
            b"{" * 9,
            b"auth_data=1",
            b"\xff",
        ):
            self.assertFalse(looks_like_envelope(raw))

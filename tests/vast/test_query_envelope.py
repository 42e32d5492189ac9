from __future__ import annotations

from typing import Any
from urllib.parse import quote, quote_plus, urlencode

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from twisted.trial.unittest import SynchronousTestCase

from tests.frames import profiled
from tests.vast.envelopes import AUTH_DATA, MAX_COST, an_auth, auth_data, fields
from vespa.protocol.refusal import Refusal
from vespa.vast.query_envelope import divide, unwrap_query

OURS = {f"serverless_{name}": str(value) for name, value in AUTH_DATA.items()}

# Parts of a caller's own query: bytes that are allowed there, well-formed or not, with some that look like ours.
foreign = st.text("ab=%2f+;/?[]'\"é", max_size=8).map(str.encode) | st.sampled_from(
    [b"", b"Serverless_cost=1", b"serverless=1", b"server%6", b"x_serverless_cost=2", b"API_KEY=3", b"api_keys=4", b"%"]
)


def refused(query: str | bytes) -> dict[str, str]:
    """The refusal's fields for a query."""
    try:
        unwrap_query(query.encode() if isinstance(query, str) else query, MAX_COST)
    except Refusal as refusal:
        return fields(refusal)
    raise AssertionError("accepted")


class CallersOwnTests(SynchronousTestCase):
    @given(st.lists(foreign, max_size=8), st.randoms(use_true_random=False))
    def test_byte_for_byte(self, parts: list[bytes], random: object) -> None:
        """Other parameters keep their bytes and order, with repeats and empty parts."""
        ours = [urlencode([pair]).encode() for pair in OURS.items()] + [b"api_key=secret", b"serverless_extra=1"]
        mixed = list(parts)
        for part in ours:
            mixed.insert(random.randint(0, len(mixed)), part)  # type: ignore[attr-defined]
        auth, rest = unwrap_query(b"&".join(mixed), MAX_COST)
        self.assertEqual(rest, b"&".join(parts))
        self.assertEqual(auth, an_auth())

    @given(st.lists(foreign, min_size=1, max_size=8))
    def test_nothing_of_ours(self, parts: list[bytes]) -> None:
        """A query without parameters of ours is returned as it came, and there is no Auth."""
        self.assertEqual(unwrap_query(b"&".join(parts), MAX_COST), (None, b"&".join(parts)))

    def test_linear(self) -> None:
        """Whatever a query of 32 KiB is made of, few steps are taken for what is none of ours."""
        for unit in (b"&", b"%&", b"s&", b"%73=&", b"a=1&"):
            query = unit * (32768 // len(unit))
            steps = 0

            def count(frame: object, event: str, argument: object) -> None:
                nonlocal steps
                steps += 1

            profiled(count, unwrap_query, query, MAX_COST)
            self.assertTrue(steps < 100, (unit, steps))

    def test_api_key(self) -> None:
        """The endpoint key is taken out wherever it stands and however its name is written."""
        self.assertEqual(unwrap_query(b"api_key=a&x=1&api%5Fkey=b&api_key&%61pi_key=", MAX_COST), (None, b"x=1"))

    def test_session(self) -> None:
        """A session beside the signed values is known, and is none of the caller's own parameters."""
        query = urlencode(OURS) + "&serverless_session_id=a%2Fb&x=1"
        self.assertEqual(unwrap_query(query.encode(), MAX_COST), (replace(an_auth(), session_id="a/b"), b"x=1"))
        for wrong in ("&serverless_session_id=" + "s" * 4097, "&serverless_session_id=%ff"):
            refusal = self.assertRaises(Refusal, unwrap_query, (urlencode(OURS) + wrong).encode(), MAX_COST)
            self.assertEqual([*(refusal.fields or {})], ["serverless_session_id"])

    def test_empty(self) -> None:
        """An empty query is empty, and so is one of ours alone."""
        self.assertEqual(unwrap_query(b"", MAX_COST), (None, b""))
        self.assertEqual(unwrap_query(urlencode(OURS).encode(), MAX_COST), (an_auth(), b""))


class OursTests(SynchronousTestCase):
    @given(auth_data, st.sampled_from([quote, quote_plus]))
    def test_values(self, data: dict[str, object], encode: Any) -> None:
        """Values arrive as they were encoded, numbers with the lexeme they were sent with."""
        data["signature"] = str(data["signature"]).replace(" ", "+")
        query = urlencode({f"serverless_{k}": v for k, v in data.items()}, quote_via=encode)
        auth, _ = unwrap_query(query.encode(), MAX_COST)
        assert auth is not None
        for name, value in data.items():
            self.assertEqual(getattr(auth, name), value)
        self.assertEqual(auth.lexemes, tuple(str(data[name]).encode() for name in ("cost", "reqnum", "request_idx")))

    def test_lexemes(self) -> None:
        """`100.0` and `100` are one number and two texts."""
        for text in ("100.0", "100", "1e2"):
            auth, _ = unwrap_query(urlencode(OURS | {"serverless_cost": text}).encode(), MAX_COST)
            assert auth is not None
            self.assertEqual((auth.cost, auth.work, auth.lexemes[0]), (100.0, 100_000_000, text.encode()))

    def test_plus_in_a_signature(self) -> None:
        """A plus sign of the base64 text may come unescaped: a space there is one."""
        for text in ("a%2Bb", "a+b", "a%20b"):
            query = urlencode({k: v for k, v in OURS.items() if k != "serverless_signature"})
            auth, _ = unwrap_query(f"{query}&serverless_signature={text}".encode(), MAX_COST)
            assert auth is not None
            self.assertEqual(auth.signature, "a+b")

    def test_missing(self) -> None:
        """One parameter of ours asks for all, and those that are missing are named."""
        self.assertEqual(refused("serverless_x=1"), dict.fromkeys(OURS, "is missing"))
        for name in OURS:
            rest = {k: v for k, v in OURS.items() if k != name}
            self.assertEqual(refused(urlencode(rest)), {name: "is missing"})

    def test_twice(self) -> None:
        """A parameter of ours that occurs twice is refused, even with one value, and even if we do not know it."""
        for repeated in ("serverless_url=x", "serverless%5Furl=x", "%73erverless_url=", urlencode(OURS)):
            self.assertEqual(refused(urlencode(OURS) + "&" + repeated)["serverless_url"], "appears more than once")
        self.assertIn("serverless_x", refused(urlencode(OURS) + "&serverless_x=1&serverless_x=1"))

    def test_wrong_values(self) -> None:
        """Each wrong value is named, all at once."""
        found = refused(
            "serverless_cost=NaN&serverless_endpoint=%zz&serverless_reqnum=1.0&serverless_request_idx=true"
            "&serverless_signature=%ff&serverless_url=" + "u" * 5000
        )
        self.assertEqual(set(found), set(OURS))

    def test_json_is_not_read(self) -> None:
        """A query's cost has no quotes, and numbers have no spaces around them."""
        for name, value in [("cost", '"5"'), ("cost", " 5"), ("reqnum", "5 "), ("request_idx", "+5"), ("cost", "")]:
            self.assertEqual(set(refused(urlencode(OURS | {f"serverless_{name}": value}))), {f"serverless_{name}"})

    @given(st.binary(max_size=40))
    def test_any_bytes(self, query: bytes) -> None:
        """Any query is parted or refused with 422, nothing else."""
        for text in (query, urlencode(OURS).encode() + b"&" + query, query.join([b"serverless_", b"=1"])):
            try:
                unwrap_query(text, MAX_COST)
            except Refusal as refusal:
                fields(refusal)


class ManyParametersTests(SynchronousTestCase):
    parts = st.lists(
        st.sampled_from(
            [b"&", b"&", b"=", b"serverless_", b"%73erverless_", b"serverles%73%5f", b"serverles%73%5F", b"api_key"]
            + [b"api%5Fkey", b"ap%69_key", b"a", b"%", b"%2", b"%25", b"x=1", b"_", b"SERVERLESS_"]
        ),
        max_size=12,
    )

    @given(parts)
    def test_both_ways_to_divide(self, parts: list[bytes]) -> None:
        """One by one or by a pattern, the same parameters are ours, and the rest stays as it is."""
        query = b"".join(parts)
        self.assertEqual(divide(query), divide(query, 0))

    def test_too_many_of_ours(self) -> None:
        """Nobody has more than 64, and others are as many as there are."""
        many = "&".join(f"serverless_{n}=1" for n in range(64))
        self.assertIn("serverless_*", refused(urlencode(OURS) + "&" + many))
        others = b"&" * 5000 + b"a=%41"
        auth, rest = unwrap_query(urlencode(OURS).encode() + b"&" + others, MAX_COST)
        self.assertEqual(rest, others)
        self.assertIsNotNone(auth)

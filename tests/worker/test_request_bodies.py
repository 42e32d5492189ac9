"""A body that arrives in pieces: the refusals, and the bytes passed on, in memory."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.seeds import examples
from tests.vast.envelopes import AUTH_DATA, an_auth
from vespa.protocol.refusal import Refusal
from vespa.protocol.request_head import RequestHead
from vespa.proxy.interfaces import RequestBody
from vespa.vast.auth import Auth
from vespa.worker.request_unwrapping import LOOK_MAX, WHOLE_MAX, RequestUnwrapping

HEAD = json.dumps(AUTH_DATA).encode()

Outcome = tuple[object, ...]


def post(target: bytes = b"/", method: bytes = b"POST", lines: tuple[bytes, ...] = ()) -> RequestHead:
    """A request's head, as far as it matters here."""
    head = RequestHead()
    head.method, head.target, head.lines = method, target, list(lines)
    return head


def envelope(payload: bytes = b"{}", more: bytes = b"") -> bytes:
    """An envelope, with members behind its payload."""
    return b'{"auth_data":%b,"payload":%b%b}' % (HEAD, payload, more)


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """An envelope or another body, small or large, good or bad."""
    size = draw(st.sampled_from([0, 10, 1000, WHOLE_MAX - 200, WHOLE_MAX, 70_000, 140_000]))
    text = b'"' + b"x" * size + b'"'
    session = draw(st.sampled_from([b"", b"", b',"session_id":null', b',"session_id":"s"']))
    raw = draw(
        st.sampled_from(
            [
                envelope(text, session),
                envelope(text, session),
                b'{"auth_data":%b%b,"payload":%b}' % (HEAD, session, text),
                b'{"payload":%b,"auth_data":%b%b}' % (text, HEAD, session),
                b' \n{ "auth_data" : %b, "payload": {"a": %b}, "x": 1} ' % (HEAD, text),
                b'{"prompt": %b}' % text,
                b'{"prompt": %b, "auth_data": 1}' % text,
                b" " * draw(st.sampled_from([LOOK_MAX - 5, LOOK_MAX, 5000])) + envelope(text),
                text,
                b"x" * size,
            ]
        )
    )
    if draw(st.integers(0, 3)) == 0:
        at = draw(st.integers(0, len(raw)) | st.integers(0, min(300, len(raw))))
        raw = raw[:at] + draw(st.sampled_from([b"}", b'"', b"\\", b",", b"x"])) + raw[at + draw(st.integers(0, 1)) :]
    return raw


@st.composite
def cuts(draw: st.DrawFn, raw: bytes) -> list[bytes]:
    """The same bytes in pieces; none of them empty."""
    near = st.integers(0, min(600, len(raw)))
    places = draw(st.lists(near | st.integers(0, len(raw)), max_size=6))
    step = draw(st.sampled_from([0, 0, 1021, 4096]))
    if step:
        places += range(0, len(raw), step)
    ends = [*sorted(places), len(raw)]
    pieces = [raw[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    return [piece for piece in pieces if piece]


class Taking:
    """Feeds a body, and sees to what holds of every one."""

    def __init__(self, body: RequestBody) -> None:
        self.body = body
        self.got = b""
        self.told: int | None = None

    def outcome(self, pieces: list[bytes]) -> Outcome:
        """What is said of the whole: what was signed and the bytes for the backend, or the refusal."""
        body = self.body
        self._look()
        try:
            for piece in pieces:
                verbatim = body.verbatim
                returned = b"".join(body.feed(piece))
                assert not verbatim or returned == piece, "it goes on as it is"
                self._take(returned)
            self._take(b"".join(body.finish()))
        except Refusal as refusal:
            return refusal.status, refusal.code, refusal.message, refusal.fields
        assert body.ready, "a body that is complete and not refused is understood"
        assert self.told is None or self.told == len(self.got), "its length is what was told"
        return body.content, self.got

    def _take(self, returned: bytes) -> None:
        assert not returned or self.body.ready, "nothing goes on before it is understood"
        self.got += returned
        self._look()

    def _look(self) -> None:
        if self.body.ready and self.told is None:
            self.told = self.body.length


class AnyCutTests(SynchronousTestCase):
    @settings(max_examples=examples(300))
    @given(st.data(), bodies(), st.booleans(), st.booleans(), st.booleans())
    def test_as_the_whole(self, data: st.DataObject, raw: bytes, secured: bool, chunked: bool, sessions: bool) -> None:
        """Any split of a body gives the same result as the whole: the same refusal, or the same bytes."""
        unwrapping = RequestUnwrapping(secured=secured, sessions=sessions)
        length = None if chunked else len(raw)
        if raw or chunked:
            whole = Taking(unwrapping.begin_body(post(), length)).outcome([raw] if raw else [])
            cut = Taking(unwrapping.begin_body(post(), length)).outcome(data.draw(cuts(raw)))
            self.assertEqual(cut, whole)
            if not chunked:
                self.assertEqual(in_one_read(unwrapping, raw), whole)

    @settings(max_examples=examples(100))
    @given(bodies(), st.booleans())
    def test_chunks_or_length(self, raw: bytes, secured: bool) -> None:
        """A body in chunks and one whose length was told mean the same; white space behind a payload says nothing."""
        if secured and raw:
            unwrapping = RequestUnwrapping(secured=True)
            told, chunked = (
                Taking(unwrapping.begin_body(post(), length)).outcome([raw]) for length in (len(raw), None)
            )
            if isinstance(told[0], Auth):
                self.assertEqual((told[0], bytes(told[1]).rstrip(b" ")), (chunked[0], bytes(chunked[1]).rstrip(b" ")))  # type: ignore[call-overload]
            else:
                self.assertEqual(told[:2], chunked[:2])


def in_one_read(unwrapping: RequestUnwrapping, raw: bytes) -> Outcome:
    """What is said of a request that came whole."""
    try:
        return unwrapping.unwrap(post(), raw)
    except Refusal as refusal:
        return refusal.status, refusal.code, refusal.message, refusal.fields


class ReadyTests(SynchronousTestCase):
    def test_early(self) -> None:
        """A large envelope is understood as soon as its payload begins, and its length is told then."""
        raw = envelope(b'"' + b"x" * 100_000 + b'"')
        body = RequestUnwrapping(secured=True).begin_body(post(), len(raw))
        at = raw.index(b'"x')
        self.assertEqual((list(body.feed(raw[:at])), body.ready), ([], False))
        self.assertEqual([bytes(piece) for piece in body.feed(raw[at : at + 5])], [b'"xxxx'])
        self.assertEqual((body.ready, body.content, body.length), (True, an_auth(), 100_002))
        self.assertFalse(body.verbatim)

    def test_from_the_start(self) -> None:
        """A body that nothing has to be taken from is ready at once, and goes on byte for byte."""
        plain = RequestUnwrapping(secured=False).begin_body(post(method=b"DELETE"), 5)
        self.assertEqual((plain.ready, plain.verbatim, plain.content, plain.length), (True, True, None, 5))
        self.assertEqual((list(plain.feed(b"ab")), list(plain.feed(b"")), list(plain.finish())), ([b"ab"], [], []))

    def test_plain_by_its_beginning(self) -> None:
        """An unsecured worker passes on what cannot be an envelope as soon as that shows."""
        for length in (None, 100_000):
            body = RequestUnwrapping(secured=False).begin_body(post(), length)
            self.assertEqual(list(body.feed(b" \n")), [])
            self.assertFalse(body.ready)
            self.assertEqual(b"".join(body.feed(b"--boundary")), b" \n--boundary")
            self.assertEqual((body.ready, body.verbatim, body.content, body.length), (True, True, None, length))
            self.assertEqual(list(body.feed(b"more")), [b"more"])

    def test_looked_at(self) -> None:
        """Of a large body of JSON an unsecured worker keeps 1 KiB, and no more, before it goes on."""
        body = RequestUnwrapping(secured=False).begin_body(post(), 100_000)
        start = b'{"prompt": "' + b"x" * (LOOK_MAX - 12)
        self.assertEqual((list(body.feed(start)), body.ready), ([], False))
        self.assertEqual((b"".join(body.feed(b"y")), body.ready), (start + b"y", True))

    def test_byte_by_byte(self) -> None:
        """A small body may come in any number of pieces."""
        for length in (None, len(envelope())):
            body = RequestUnwrapping(secured=True).begin_body(post(), length)
            for byte in envelope():
                self.assertEqual(list(body.feed(b"%c" % byte)), [])
            self.assertEqual(list(body.finish()), [b"{}"])
            self.assertEqual((body.content, body.length), (an_auth(), 2))

    def test_nothing_in_chunks(self) -> None:
        """A chunked body of no bytes is a body: no envelope where one is needed, and else a plain one."""
        refusal = self.assertRaises(Refusal, RequestUnwrapping(secured=True).begin_body(post(), None).finish)
        self.assertEqual((refusal.status, refusal.code), (422, "invalid_envelope"))
        body = RequestUnwrapping(secured=False).begin_body(post(), None)
        self.assertEqual((b"".join(body.finish()), body.ready, body.content, body.length), (b"", True, None, 0))


class SessionTests(SynchronousTestCase):
    def test_anywhere(self) -> None:
        """No session is known here: 410, before the payload or behind it, in a small body or a large one."""
        for size in (1, 100_000):
            payload = b'"' + b"x" * size + b'"'
            for raw in (
                envelope(payload, b',"session_id":"s"'),
                b'{"auth_data":%b,"session_id":"s","payload":%b}' % (HEAD, payload),
                b'{"session_id":"s","payload":%b,"auth_data":%b}' % (payload, HEAD),
            ):
                for length in (None, len(raw)):
                    for secured in (True, False):
                        if raw.startswith(b'{"session') and size > 1 and not secured:
                            continue  # that is no envelope to a worker that knows large ones by their beginning
                        body = RequestUnwrapping(secured=secured).begin_body(post(), length)
                        outcome = Taking(body).outcome([raw[:50], raw[50:]])
                        self.assertEqual(outcome[:2], (410, "invalid_session"))

    def test_with_what_follows(self) -> None:
        """Where a session and what follows it come in one read, they mean what they do in two."""
        payload = b'"' + b"x" * 100_000 + b'"'
        wrong = (422, "invalid_envelope")
        for raw, without_sessions, with_sessions in (
            (b'{"auth_data":%b,"session_id":"s","payload":%b]' % (HEAD, payload), (410, "invalid_session"), wrong),
            (envelope(payload, b',"session_id":"s"'), (410, "invalid_session"), wrong),
            (envelope(payload, b',"session_id":"s"') + b"x", wrong, wrong),
        ):
            for sessions, expected in ((False, without_sessions), (True, with_sessions)):
                unwrapping = RequestUnwrapping(secured=True, sessions=sessions)
                for at in (raw.index(b'"xxx'), len(raw) - 18, len(raw) - 1, len(raw)):
                    for length in (None, len(raw)):
                        pieces = [piece for piece in (raw[:at], raw[at:]) if piece]
                        outcome = Taking(unwrapping.begin_body(post(), length)).outcome(pieces)
                        self.assertEqual(outcome[:2], expected, (raw[-30:], at - len(raw), sessions, length))

    def test_not_before_the_signature_is_read(self) -> None:
        """A session behind a large payload is found when the payload has gone on: the request is never complete."""
        raw = envelope(b'"' + b"x" * 100_000 + b'"', b',"session_id":"s"')
        body = RequestUnwrapping(secured=True).begin_body(post(), len(raw))
        passed = b"".join(body.feed(raw[:-20])) + b"".join(body.feed(raw[-20:]))
        assert body.length is not None
        self.assertLess(len(passed), body.length)
        self.assertEqual(self.assertRaises(Refusal, body.finish).status, 410)

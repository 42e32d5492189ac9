from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from tests.rig import CHUNKED, GET, Rig
from vespa.protocol.refusal import Refusal
from vespa.protocol.response_head import parse_response_head
from vespa.proxy.app import draining
from vespa.proxy.stream_error import last_event
from vespa.proxy.upstream_deadlines import Timeouts

EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
STREAM = EVENTS + b"Transfer-Encoding: chunked\r\n\r\n"
REFUSAL = Refusal(502, "truncated_reply", "the backend closed its connection", origin="backend")


def event(framed: bytes) -> dict[str, object]:
    """The error in the last chunk of a response that was cut behind it."""
    size, _, rest = framed.partition(b"\r\n")
    assert len(rest) == int(size, 16) + 2
    name, data = rest.strip().split(b"\n")
    assert name == b"event: error"
    return dict(json.loads(data.removeprefix(b"data: "))["error"])


class EventTests(SynchronousTestCase):
    def last(self, head: bytes, *, minor: int = 1, whole_chunks: bool = True) -> bytes:
        return last_event(parse_response_head(head)[0], REFUSAL, minor=minor, whole_chunks=whole_chunks)

    def test_chunk(self) -> None:
        """It is a chunk of its own, or plain bytes to an HTTP/1.0 client."""
        error = event(self.last(STREAM))
        self.assertEqual((error["code"], error["status"]), ("truncated_reply", 502))
        self.assertTrue(self.last(STREAM, minor=0).startswith(b"\n\nevent: error\ndata: {"))
        self.assertTrue(self.last(STREAM, minor=0, whole_chunks=False))
        self.assertEqual(self.last(EVENTS + b"\r\n"), self.last(STREAM))

    def test_none(self) -> None:
        """Nothing where it would not be read as an event: other content, a coding, a known length, half a chunk."""
        for head in (
            STREAM.replace(b"event-stream", b"plain"),
            STREAM.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n"),
            EVENTS + b"Content-Length: 100\r\n\r\n",
            CHUNKED,
        ):
            self.assertEqual(self.last(head), b"", head)
        self.assertEqual(self.last(STREAM, whole_chunks=False), b"")


class BrokenStreamTests(SynchronousTestCase):
    def rig(self, **more: object) -> Rig:
        return Rig(stream_errors=True, **more)  # type: ignore[arg-type]

    def test_lost(self) -> None:
        """A stream whose backend dies ends with the error, and with a cut connection."""
        rig = self.rig()
        client = rig.ask(GET)
        rig.backend.wire.send(STREAM + b"9\r\ndata: 1\n\n\r\n")
        rig.backend.wire.hang_up()
        _, _, rest = client.value().partition(b"data: 1\n\n\r\n")
        self.assertEqual(event(rest)["code"], "truncated_reply")
        self.assertFalse(client.open)
        self.assertEqual((rig.ledger.failed, rig.settled()), (1, True))

    def test_not_asked_for(self) -> None:
        """Without the setting it is only cut."""
        rig = Rig()
        client = rig.ask(GET)
        rig.backend.wire.send(STREAM + b"9\r\ndata: 1\n\n\r\n")
        rig.backend.wire.hang_up()
        self.assertTrue(client.value().endswith(b"data: 1\n\n\r\n"))
        self.assertFalse(client.open)

    def test_within_a_chunk(self) -> None:
        """Within a chunk an event would be part of the chunk's content, so there is none."""
        rig = self.rig()
        client = rig.ask(GET)
        rig.backend.wire.send(STREAM)
        rig.backend.wire.send(b"9\r\ndata")
        rig.backend.wire.hang_up()
        self.assertTrue(client.value().endswith(b"9\r\ndata"))
        self.assertFalse(client.open)

    def test_silence(self) -> None:
        """A stream that is given up for its silence ends so, too."""
        rig = self.rig(timeouts=Timeouts(idle=5))
        client = rig.ask(GET)
        rig.backend.wire.send(STREAM)
        rig.backend.wire.send(b"9\r\ndata: 1\n\n\r\n")
        for _ in range(8):
            rig.clock.advance(1)
        _, _, rest = client.value().partition(b"data: 1\n\n\r\n")
        self.assertEqual(event(rest)["code"], "idle_timeout")

    def test_end_of_a_drain(self) -> None:
        """A stream that is cut because the server stops ends with why; its account is that of a hang-up."""
        rig = self.rig()
        client = rig.ask(GET)
        rig.backend.wire.send(STREAM + b"9\r\ndata: 1\n\n\r\n")
        rig.server.abort(draining())
        _, _, rest = client.value().partition(b"data: 1\n\n\r\n")
        error = event(rest)
        self.assertEqual((error["code"], error["status"], error["origin"]), ("draining", 503, "vespa"))
        self.assertFalse(client.open)
        self.assertFalse(client.aborted)  # an abort would drop what the client has not read yet
        self.assertFalse(rig.backend.wire.open)
        self.assertEqual((rig.ledger.cancelled, rig.settled()), (1, True))

    def test_end_of_a_drain_without_an_event(self) -> None:
        """Without the setting, within a chunk, before a response and in one of another kind, all is cut at once."""
        for rig, sent in (
            (Rig(), STREAM + b"9\r\ndata: 1\n\n\r\n"),
            (self.rig(), STREAM + b"9\r\ndata"),
            (self.rig(), CHUNKED + b"2\r\nok\r\n"),
            (self.rig(), b""),
        ):
            client = rig.ask(GET)
            if sent:
                rig.backend.wire.send(sent)
            rig.server.abort(draining())
            self.assertNotIn(b"event: error", client.value())
            self.assertTrue(client.aborted, sent)
            self.assertEqual((rig.ledger.cancelled, rig.settled()), (1, True))

    def test_end_of_a_drain_with_an_old_client(self) -> None:
        """An HTTP/1.0 client, whose response ends with its connection, gets plain bytes before it is cut."""
        rig = self.rig()
        client = rig.ask(b"GET / HTTP/1.0\r\nHost: x\r\n\r\n")
        rig.backend.wire.send(STREAM + b"9\r\ndata: 1\n\n\r\n")
        rig.server.abort(draining())
        rig.clock.advance(0)
        self.assertRegex(client.value(), rb"data: 1\n\n\n\nevent: error\ndata: {.*draining.*}\n\n$")
        for _ in range(10):
            rig.clock.advance(1)
        self.assertFalse(client.open)

    def test_no_stream(self) -> None:
        """A response of another kind is cut as always."""
        rig = self.rig()
        client = rig.ask(GET)
        rig.backend.wire.send(CHUNKED + b"2\r\nok\r\n")
        rig.backend.wire.hang_up()
        self.assertTrue(client.value().endswith(b"2\r\nok\r\n"))
        self.assertFalse(client.open)

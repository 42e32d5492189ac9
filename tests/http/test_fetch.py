"""One small request, and the whole of its response."""

from __future__ import annotations

from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.rig import Backend
from vespa.http.coarse_timer import CoarseTimer
from vespa.http.connection_pool import ConnectionPool
from vespa.http.fetch import Fetch
from vespa.http.interfaces import UpstreamError
from vespa.protocol.response_head import ResponseHead

QUESTION = b"POST /route/ HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"


class Hears:
    """A caller that records its results."""

    def __init__(self) -> None:
        self.heard: list[object] = []

    def completed(self, head: ResponseHead, body: bytes) -> None:
        self.heard.append((head.status, body))

    def failed(self, error: UpstreamError) -> None:
        self.heard.append(error.code)


class FetchTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.server = Backend()
        self.pool = ConnectionPool(self.server, self.clock, name="autoscaler")
        self.timer = CoarseTimer(self.clock)
        self.receiver = Hears()

    def ask(self, seconds: float = 10.0, limit: int = 100) -> Fetch:
        return Fetch(self.pool, self.timer, QUESTION, self.receiver, seconds=seconds, limit=limit)

    def tearDown(self) -> None:
        self.pool.close()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_completed(self) -> None:
        """Framed by a length, in chunks or by the end, the content is handed over once it is whole."""
        for response, end in (
            (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab|cd", False),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n|2\r\ncd\r\n0\r\n\r\n", False),
            (b"HTTP/1.1 200 OK\r\n\r\nab|cd", True),
        ):
            self.receiver.heard.clear()
            self.ask()
            first, _, second = response.partition(b"|")
            wire = self.server.wire
            wire.send(first)
            self.assertEqual(self.receiver.heard, [])
            wire.send(second)
            if end:
                wire.lose(ConnectionDone())
            self.assertEqual(self.receiver.heard, [(200, b"abcd")])

    def test_kept_connection(self) -> None:
        """The next request uses the same connection; if that was closed meanwhile, the request is sent again."""
        for _ in range(2):
            self.ask()
            self.server.wire.send(b"HTTP/1.1 204 No\r\n\r\n")
        self.assertEqual(len(self.server.wires), 1)
        self.ask()
        self.server.wire.lose(ConnectionLost())
        self.assertEqual(len(self.server.wires), 2)
        self.server.wire.send(b"HTTP/1.1 204 No\r\n\r\n")
        self.assertEqual(self.receiver.heard, [(204, b"")] * 3)

    def test_failed(self) -> None:
        """Each failure is reported once: unreachable, broken off, too long, too slow, not HTTP."""
        self.server.refusing = True
        self.ask()
        self.server.refusing = False
        self.ask()
        self.server.wire.lose(ConnectionLost())
        self.ask()
        self.server.wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 200\r\n\r\n" + b"x" * 200)
        self.ask()
        self.clock.pump([1.0] * 11)
        self.ask()
        self.server.wire.send(b"SSH-2.0-x\r\n")
        self.assertEqual(
            self.receiver.heard, ["autoscaler_unreachable", "no_reply", "bad_reply", "timeout", "bad_reply"]
        )
        self.assertEqual(self.server.open, [])

    def test_cancelled(self) -> None:
        """A cancelled fetch gives no result, connected or not."""
        self.ask().cancel()
        self.server.slow = True
        fetch = self.ask()
        fetch.cancel()
        self.server.accept()
        self.assertEqual(self.receiver.heard, [])

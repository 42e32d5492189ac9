"""How long a client may take for what it is at, in memory."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.rig import GET, OK, Rig, status
from tests.worker.requests import auth
from vespa.http.limits import Limits
from vespa.simulator.signing import query_envelope

UNVERIFIED = b'POST / HTTP/1.1\r\nHost: w\r\nContent-Length: 1000000\r\n\r\n{"payload": "'


class Clocks(SynchronousTestCase):
    def test_head_in_time(self) -> None:
        """A head has ten seconds from the start of the connection, however steadily it drips."""
        rig = Rig()
        client = rig.client()
        for byte in b"GET / HTTP/1":
            client.send(bytes([byte]))
            rig.clock.advance(1.0)
            if not client.open:
                break
        self.assertEqual(status(client.read()), 408)
        self.assertFalse(client.open)

    def test_silent_connection(self) -> None:
        """A connection on which no byte arrives is closed without a response."""
        rig = Rig()
        client = rig.client()
        rig.clock.pump([1.0] * 11)
        self.assertEqual((client.read(), client.open), (b"", False))

    def test_keep_alive_ends(self) -> None:
        """An idle connection is closed after thirty seconds, and not before."""
        rig = Rig()
        client = rig.ask(GET)
        rig.backend.wire.send(OK)
        rig.clock.pump([1.0] * 28)
        self.assertTrue(client.open)
        rig.clock.pump([1.0] * 4)
        self.assertFalse(client.open)

    def test_no_clock_on_streams(self) -> None:
        """A stream may be silent for as long as it likes."""
        rig = Rig()
        client = rig.ask(GET)
        rig.backend.wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        rig.clock.pump([60.0] * 60)
        self.assertTrue(client.open)

    def test_slow_body(self) -> None:
        """An unverified body slower than the minimum rate is cut with 408; one that is faster is not."""
        rig = Rig(secured=True, limits=Limits(body_min_rate=100))
        client = rig.ask(UNVERIFIED)
        for _ in range(12):
            if client.open:
                client.send(b"x")
            rig.clock.advance(1.0)
        self.assertEqual(status(client.read()), 408)
        self.assertTrue(rig.settled())
        rig = Rig(secured=True, limits=Limits(body_min_rate=100))
        client = rig.ask(UNVERIFIED)
        for _ in range(60):
            client.send(b"x" * 200)
            rig.clock.advance(1.0)
        self.assertTrue(client.open)

    def test_burst_and_silence(self) -> None:
        """A burst buys an unverified body no time: it ends when little has come for ten seconds."""
        for drip in (b"", b"x"):
            rig = Rig(secured=True)
            client = rig.ask(UNVERIFIED + b"x" * 50000)
            for _ in range(23):
                if client.open and drip:
                    client.send(drip)
                rig.clock.advance(1.0)
            self.assertEqual(status(client.read()), 408)

    def test_verified_body(self) -> None:
        """A verified request's body needs no pace (live audio): it ends when nothing has come for a minute."""
        signed = query_envelope(auth()).encode()
        asks = (
            (Rig(secured=True), b"PUT /up?" + signed + b" HTTP/1.1\r\nHost: w\r\nTransfer-Encoding: chunked\r\n\r\n"),
            (Rig(), b"POST /up HTTP/1.1\r\nHost: w\r\nTransfer-Encoding: chunked\r\n\r\n"),
        )
        for rig, head_ in asks:
            client = rig.ask(head_ + b"3\r\nabc\r\n")
            for _ in range(3):
                rig.clock.pump([1.0] * 50)
                self.assertTrue(client.open)
                client.send(b"1\r\nx\r\n")
            rig.clock.pump([1.0] * 63)
            self.assertEqual(status(client.read()), 408)
            self.assertTrue(rig.settled())

    def test_our_pause_is_not_theirs(self) -> None:
        """A client whose reading we have paused does not count as slow."""
        rig = Rig(limits=Limits(body_min_rate=100))
        rig.backend.slow = True
        client = rig.ask(b"PUT / HTTP/1.1\r\nHost: w\r\nContent-Length: 200000\r\n\r\n" + b"x" * 70000)
        rig.clock.pump([1.0] * 60)
        rig.backend.accept()
        rig.clock.advance(1.0)
        self.assertTrue(client.open)

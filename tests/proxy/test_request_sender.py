"""The way to an upstream: what is sent again, and what is not, in memory."""

from __future__ import annotations

import json

from twisted.internet.error import ConnectionLost
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from tests.rig import CHUNKED, DATE, GET, OK, Rig, body, post, status
from vespa.proxy.upstream_deadlines import Timeouts


class Failing(SynchronousTestCase):
    def error(self, response: bytes) -> dict[str, str]:
        error: dict[str, str] = json.loads(body(response))["error"]
        return error

    def test_unreachable(self) -> None:
        """A backend that cannot be reached is 502, and says whose fault it is."""
        rig = Rig()
        rig.backend.refusing = True
        response = rig.ask(GET).read()
        self.assertEqual(status(response), 502)
        self.assertEqual(
            (self.error(response)["origin"], self.error(response)["code"]), ("backend", "backend_unreachable")
        )
        self.assertIn(b"X-Vespa-Error: backend_unreachable\r\n", response)
        self.assertEqual(rig.ledger.failed, 1)
        self.assertTrue(rig.settled())

    def test_warning(self) -> None:
        """However many requests fail for one reason, one warning says it in words, and nothing else is logged."""
        rig = Rig()
        rig.backend.refusing = True
        with capturedLogs() as events:
            for _ in range(50):
                rig.ask(GET)
        (event,) = [event for event in events if event["log_level"] > LogLevel.debug]
        self.assertEqual(event["log_level"], LogLevel.warn)
        self.assertIn("requests fail: 502 backend_unreachable: could not connect: ", formatEvent(event))

    def test_silent_end(self) -> None:
        """If the backend closes without a response, the client gets 502."""
        rig = Rig()
        client = rig.ask(GET)
        rig.backend.wire.hang_up()
        self.assertEqual(status(client.read()), 502)
        self.assertEqual(rig.ledger.failed, 1)

    def test_truncation_is_visible(self) -> None:
        """A response that breaks off never ends cleanly, and what came before is delivered."""
        for start in (CHUNKED + b"5\r\nabcde\r\n", b"HTTP/1.1 200 OK\r\n%bContent-Length: 9\r\n\r\nabc" % DATE):
            rig = Rig()
            client = rig.ask(GET)
            rig.backend.wire.send(start)
            rig.backend.wire.hang_up()
            self.assertEqual(client.read(), start)
            self.assertFalse(client.open)
            self.assertEqual((rig.ledger.failed, rig.ledger.served), (1, 0))
            self.assertTrue(rig.settled())

    def test_truncation_for_old_clients(self) -> None:
        """If the connection's end would mark the response's end, the connection is reset instead."""
        rig = Rig()
        client = rig.ask(b"GET / HTTP/1.0\r\n\r\n")
        rig.backend.wire.send(CHUNKED + b"5\r\nabcde\r\n")
        rig.backend.wire.hang_up()
        rig.clock.advance(0)
        self.assertEqual(body(client.read()), b"abcde")
        self.assertTrue(client.aborted)

    def test_stale_connection(self) -> None:
        """A request on a connection that is just being closed is sent once more, on a new one."""
        rig = Rig()
        client = rig.ask(GET)
        rig.backend.wire.send(OK)
        client.read()
        client.send(post(b"again"))
        first = rig.backend.wire
        sent = first.read()
        first.lose(ConnectionLost())
        self.assertEqual(len(rig.backend.wires), 2)
        self.assertTrue(sent.endswith(rig.backend.wire.value()))
        rig.backend.wire.send(OK)
        self.assertEqual(body(client.read()), b"ok")
        self.assertEqual((rig.ledger.served, rig.ledger.received), (2, 2))
        client.send(GET)
        rig.backend.wire.hang_up()
        rig.backend.wire.hang_up()
        self.assertEqual(status(client.read()), 502)

    def test_no_second_try_of_work(self) -> None:
        """A POST is not sent again when the backend closed instead of resetting: it may have been at work on it."""
        rig = Rig()
        client = rig.ask(GET)
        rig.backend.wire.send(OK)
        client.read()
        client.send(post(b"work"))
        rig.backend.wire.hang_up()
        self.assertEqual(status(client.read()), 502)
        self.assertEqual(len(rig.backend.wires), 1)

    def test_second_try_of_a_part(self) -> None:
        """A request of which a part was sent goes again from its beginning, and on, as long as all of it is kept."""
        for size, kept in ((10, True), (65536, True), (65537, False)):
            rig = Rig()
            client = rig.ask(GET)
            rig.backend.wire.send(OK)
            client.read()
            first = rig.backend.wire
            first.read()
            client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
            client.send(b"%x\r\n%b\r\n" % (size, b"x" * size))
            self.assertGreater(len(first.read()), size)
            first.lose(ConnectionLost())
            self.assertEqual(len(rig.backend.wires), 1 + kept)
            if not kept:
                self.assertEqual(status(client.read()), 502)
                continue
            client.send(b"2\r\nyz\r\n0\r\n\r\n")
            again = rig.backend.wire.read()
            self.assertTrue(again.startswith(b"POST / HTTP/1.1\r\n"))
            self.assertTrue(again.endswith(b"x\r\n2\r\nyz\r\n0\r\n\r\n"), again[-40:])
            self.assertGreater(len(again), size)
            rig.backend.wire.send(OK)
            self.assertEqual(body(client.read()), b"ok")
            self.assertTrue(rig.settled())

    def test_timeouts(self) -> None:
        """First byte, silence and total are bounded where set, and answered 504 while that can be."""
        rig = Rig(timeouts=Timeouts(first_byte=5))
        client = rig.ask(GET)
        rig.clock.pump([1.0] * 6)
        self.assertEqual(status(client.read()), 504)
        self.assertTrue(rig.settled())
        rig = Rig(timeouts=Timeouts(idle=5))
        client = rig.ask(GET)
        rig.backend.wire.send(CHUNKED)
        rig.clock.pump([1.0] * 4)
        rig.backend.wire.send(b"1\r\na\r\n")
        rig.clock.pump([1.0] * 4)
        self.assertTrue(client.open)
        rig.clock.pump([1.0] * 3)
        self.assertFalse(client.open)
        self.assertEqual(rig.ledger.failed, 1)

    def test_bad_responses(self) -> None:
        """A malformed response gives 502, whatever is wrong with it."""
        for response in (
            b"HELLO\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70000,
        ):
            rig = Rig()
            client = rig.ask(GET)
            rig.backend.wire.send(response)
            answer = client.read()
            self.assertEqual(status(answer), 502, response[:60])
            self.assertIn(b"X-Vespa-Error: bad_reply", answer)
            self.assertTrue(rig.settled())

    def test_bytes_behind_a_response(self) -> None:
        """Bytes behind a response are dropped, and the connection is not reused."""
        for response in (OK + b"HTTP/1.1 200 OK\r\n\r\n", CHUNKED + b"2\r\nok\r\n0\r\n\r\nextra"):
            rig = Rig()
            client = rig.ask(GET)
            rig.backend.wire.send(response)
            self.assertNotIn(b"extra", client.value())
            self.assertEqual(client.read().count(b"HTTP/1.1"), 1)
            self.assertEqual(rig.pool.idle, 0)

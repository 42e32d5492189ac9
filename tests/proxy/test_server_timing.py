"""The field Server-Timing, in memory."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.rig import CHUNKED, GET, OK, Rig, fields, post, status


class ServerTimingTests(SynchronousTestCase):
    def test_every_part(self) -> None:
        """The wait for a slot, for a connection, for the response, and the rest: here the body, which came slowly."""
        rig = Rig(concurrency=1, server_timing=True)
        rig.ask(GET)
        whole = post(b"x" * 10)
        client = rig.ask(whole[:-5])
        rig.clock.advance(0.25)  # it is admitted when its body is there
        client.send(whole[-5:])
        rig.clock.advance(0.5)
        rig.backend.slow = True
        rig.backend.wire.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
        rig.clock.advance(0.125)
        rig.backend.accept()
        rig.clock.advance(2.0)
        rig.backend.wire.send(OK)
        answer = client.read()
        self.assertEqual(
            fields(answer, b"server-timing"),
            [b"queue;dur=500.0, connect;dur=125.0, backend;dur=2000.0, proxy;dur=250.0"],
        )
        self.assertTrue(answer.endswith(b"Content-Length: 2\r\n\r\nok"))

    def test_time_to_decide(self) -> None:
        """What the worker itself takes until it sends the request is the proxy's time."""
        rig = Rig(server_timing=True)
        verify = rig.proxy.verify

        def slowly(exchange: object, content: object) -> None:
            rig.clock.advance(0.0625)
            verify(exchange, content)

        rig.proxy.verify = slowly
        client = rig.ask(GET)
        rig.backend.wire.send(OK)
        self.assertEqual(fields(client.read(), b"server-timing"), [b"queue;dur=0.0, backend;dur=0.0, proxy;dur=62.5"])

    def test_stream(self) -> None:
        """A stream's head has it too, beside the backend's own field, and its chunks pass unchanged."""
        rig = Rig(server_timing=True)
        client = rig.ask(GET)
        rig.clock.advance(1.5)
        rig.backend.wire.send(CHUNKED[:-2] + b"Server-Timing: model;dur=3\r\n\r\n")
        ours = b"queue;dur=0.0, backend;dur=1500.0, proxy;dur=0.0"
        self.assertEqual(fields(client.read(), b"server-timing"), [b"model;dur=3", ours])
        rig.backend.wire.send(b"2\r\nab\r\n0\r\n\r\n")
        self.assertEqual(client.read(), b"2\r\nab\r\n0\r\n\r\n")

    def test_interim(self) -> None:
        """An interim response passes as it came."""
        rig = Rig(server_timing=True)
        client = rig.ask(GET)
        rig.backend.wire.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
        self.assertEqual(client.read(), b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")

    def test_errors_always(self) -> None:
        """An error of Vespa's own has it without the setting; a later response of the connection has not."""
        rig = Rig()
        rig.backend.slow = True
        client = rig.ask(GET)
        rig.clock.advance(0.5)
        rig.backend.accept()
        rig.clock.advance(1.0)
        rig.backend.wire.send(b"nonsense\r\n\r\n")
        answer = client.read()
        self.assertEqual(status(answer), 502)
        self.assertEqual(fields(answer, b"server-timing"), [b"queue;dur=0.0, connect;dur=500.0, backend;dur=1000.0"])
        client.send(GET)
        rig.backend.accept()
        rig.backend.wire.send(OK)
        self.assertEqual(fields(client.read(), b"server-timing"), [])

    def test_in_the_queue(self) -> None:
        """A request that never got its slot only waited."""
        rig = Rig(concurrency=1, queue_seconds=2.0)
        rig.ask(GET)
        client = rig.ask(GET)
        for _ in range(3):
            rig.clock.advance(1.0)
        self.assertEqual(fields(client.read(), b"server-timing"), [b"queue;dur=2000.0"])

    def test_before_admission(self) -> None:
        """A request that was not admitted has no times to tell."""
        rig = Rig(max_queue=0, concurrency=1, secured=True)
        client = rig.ask(post(b"{}"))
        answer = client.read()
        self.assertEqual((status(answer), fields(answer, b"server-timing")), (422, []))

    def test_passes_untouched_without_it(self) -> None:
        """Without the setting a response passes as the bytes that came."""
        rig = Rig()
        client = rig.ask(GET)
        rig.clock.advance(0.5)
        whole = OK[:-6] + b"\r\nDate: Tue, 14 Nov 2023 22:13:20 GMT\r\n\r\nok"
        rig.backend.wire.send(whole)
        self.assertEqual(client.read(), whole)

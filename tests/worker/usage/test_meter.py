from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.rig import DATE, Rig, body, post
from tests.worker.requests import envelope
from tests.worker.sessions.session_rig import result
from tests.worker.usage.replies import DONE, OPENAI, VLLM_CONTINUOUS, chunk, events, usage
from vespa.accounting.ledger import Ledger
from vespa.accounting.workload import MICROS
from vespa.protocol.response_head import ResponseHead, parse_response_head
from vespa.proxy.exchange import Exchange
from vespa.proxy.interfaces import ResponseReader
from vespa.transport.origin import Origin
from vespa.worker.usage.meter import HEADS_MAX, UsageMeter, form_of
from vespa.worker.usage.reader import LIMIT, Form
from vespa.worker.usage.setup import free_load

COST = b"X-Serverless-Cost: 100\r\n"
"""What an unsigned request of these tests costs."""


class MeteredRig(Rig):
    """A worker that reads the tokens of responses."""

    def __init__(self, unit: str = "completion", **more: Any) -> None:
        self.meter: UsageMeter | None = None
        self.unit = unit
        super().__init__(response_reader=self._reader, **more)

    def _reader(self, exchange: Exchange, head: ResponseHead, length: int) -> ResponseReader | None:
        if self.meter is None:
            self.meter = UsageMeter(self.ledger, self.unit, free_load=free_load(self.ledger, self.gate))
        return self.meter.reader(exchange, head, length)

    @property
    def served(self) -> float:
        """The served work in units."""
        return self.ledger.snapshot().served / MICROS

    @property
    def load(self) -> float:
        return self.ledger.load / MICROS


def response(content: bytes, fields: bytes = b"Content-Type: application/json", status: bytes = b"200 OK") -> bytes:
    """A response with a length."""
    head = b"HTTP/1.1 " + status + b"\r\n" + DATE + fields + b"\r\n"
    return head + b"Content-Length: %d\r\n\r\n" % len(content) + content


def stream(media_type: bytes = b"text/event-stream; charset=utf-8") -> bytes:
    """The head of a stream in chunks."""
    return b"HTTP/1.1 200 OK\r\n" + DATE + b"Content-Type: " + media_type + b"\r\nTransfer-Encoding: chunked\r\n\r\n"


def coded(content: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(content), content)


CHAT = json.dumps({"choices": [{"message": {"content": "Hi"}}], "usage": usage(6)}).encode()


class UsageMeterTests(SynchronousTestCase):
    def ask(self, rig: Rig, extra: bytes = COST) -> bytes:
        return post(b"{}", b"/v1/chat/completions", extra)

    def test_whole_reply(self) -> None:
        """The tokens of a reply are its served work, in the place of its cost, and the reply passes as it came."""
        rig = MeteredRig()
        client = rig.ask(self.ask(rig))
        self.assertEqual(rig.load, 100.0)
        rig.backend.wire.send(response(CHAT))
        self.assertEqual(client.value(), response(CHAT))
        self.assertEqual((rig.served, rig.load, rig.settled()), (6.0, 0.0, True))
        assert rig.meter is not None
        self.assertEqual((rig.meter.measured, rig.meter.unmeasured), (1, 0))
        self.assertEqual((rig.meter.measured_work, rig.meter.signed_work), (6 * MICROS, 100 * MICROS))

    def test_with_prompt(self) -> None:
        """The unit may include the prompt."""
        rig = MeteredRig("total")
        rig.ask(self.ask(rig))
        rig.backend.wire.send(response(CHAT))
        self.assertEqual(rig.served, 17.0)

    def test_received_work(self) -> None:
        """Received work is the signed cost, whatever was done."""
        rig = MeteredRig()
        rig.ask(self.ask(rig))
        rig.backend.wire.send(response(CHAT))
        self.assertEqual(rig.ledger.snapshot().new_load, 100 * MICROS)

    def test_not_read(self) -> None:
        """What cannot be read counts with its cost."""
        for name, data in {
            "no tokens": response(b'{"choices": []}'),
            "no JSON": response(CHAT, b"Content-Type: text/html"),
            "no type": response(CHAT, b"X-Type: application/json"),
            "compressed": response(CHAT, b"Content-Type: application/json\r\nContent-Encoding: gzip"),
            "long": response(CHAT + b" " * LIMIT),
            "too many": response(b'{"usage": {"completion_tokens": 1000000000}}'),
            "negative": response(b'{"usage": {"completion_tokens": -6}}'),
        }.items():
            with self.subTest(name):
                rig = MeteredRig()
                client = rig.ask(self.ask(rig))
                assert rig.meter is None
                rig.meter = UsageMeter(rig.ledger, "completion")
                rig.meter.most = 1e6
                rig.backend.wire.send(data)
                self.assertEqual(client.value(), data)
                self.assertEqual((rig.served, rig.meter.measured, rig.settled()), (100.0, 0, True))
                looked = name in ("no tokens", "too many", "negative")
                self.assertEqual(rig.meter.unmeasured, int(looked), "others are not even looked at")

    def test_no_work(self) -> None:
        """An error, and a response without a body, are not read, and serve no work."""
        rig = MeteredRig()
        rig.ask(self.ask(rig))
        rig.backend.wire.send(response(CHAT, status=b"400 Bad Request"))
        self.assertEqual((rig.served, rig.settled()), (0.0, True))
        rig.ask(b"HEAD / HTTP/1.1\r\nHost: worker\r\n\r\n")
        rig.backend.wire.send(response(CHAT)[: -len(CHAT)])
        rig.ask(self.ask(rig))
        rig.backend.wire.send(b"HTTP/1.1 204 No Content\r\n" + DATE + b"Content-Type: application/json\r\n\r\n")
        assert rig.meter is not None
        self.assertEqual((rig.served, rig.meter.measured, rig.meter.unmeasured), (101.0, 0, 0))

    def test_stream(self) -> None:
        """The tokens of a stream's last events are its work, and each read passes at once, as it came."""
        rig = MeteredRig()
        client = rig.ask(self.ask(rig))
        rig.backend.wire.send(stream())
        client.read()
        for event in OPENAI.split(b"\n\n")[:-1]:
            rig.backend.wire.send(coded(event + b"\n\n"))
            self.assertEqual(client.read(), coded(event + b"\n\n"))
        self.assertEqual((rig.load, rig.gate.working, rig.served), (0.0, 1, 0.0))
        rig.backend.wire.send(b"0\r\n\r\n")
        self.assertEqual((client.read(), rig.served, rig.settled()), (b"0\r\n\r\n", 6.0, True))

    def test_load_falls(self) -> None:
        """With the tokens in each event, the load falls while the stream lasts; the last event frees all of it."""
        rig = MeteredRig()
        rig.ask(self.ask(rig))
        rig.backend.wire.send(stream())
        loads = []
        for count in range(1, 101):
            rig.backend.wire.send(coded(events(chunk("x", usage=usage(count)))))
            loads.append(rig.load)
        self.assertEqual(sorted(loads, reverse=True), loads)
        self.assertEqual((loads[0], loads[40], loads[-1]), (99.0, 67.0, 3.0))
        rig.backend.wire.send(coded(DONE))
        self.assertEqual((rig.load, rig.gate.working), (0.0, 1))
        rig.backend.wire.send(b"0\r\n\r\n")
        self.assertEqual((rig.served, rig.settled()), (100.0, True))

    def test_more_than_its_cost(self) -> None:
        """A request that takes more than its cost frees no more than that, and serves all of it."""
        rig = MeteredRig()
        rig.ask(self.ask(rig))
        rig.ask(self.ask(rig))
        rig.backend.wire.send(stream() + coded(events(chunk("x", usage=usage(5000)))))
        self.assertEqual(rig.load, 100.0)
        rig.backend.wire.send(coded(DONE) + b"0\r\n\r\n")
        self.assertEqual((rig.load, rig.served), (100.0, 5000.0))

    def test_fewer_tokens_later(self) -> None:
        """A backend that reports fewer tokens than before takes no load back."""
        rig = MeteredRig()
        rig.ask(self.ask(rig))
        rig.backend.wire.send(stream() + coded(events(chunk("x", usage=usage(60)))))
        for count in range(40):
            rig.backend.wire.send(coded(events(chunk("x", usage=usage(count + 1)))))
        self.assertEqual(rig.load, 40.0)

    def test_caller_leaves(self) -> None:
        """A caller that leaves in the middle of a stream leaves no load, and its tokens are no served work."""
        rig = MeteredRig()
        client = rig.ask(self.ask(rig))
        rig.backend.wire.send(stream() + coded(events(chunk("x", usage=usage(50)))))
        client.hang_up()
        self.assertEqual(
            (rig.load, rig.served, rig.ledger.cancelled_work, rig.settled()), (0.0, 0.0, 100 * MICROS, True)
        )

    def test_backend_breaks(self) -> None:
        """A stream that breaks serves nothing, though its last event had passed."""
        rig = MeteredRig()
        rig.ask(self.ask(rig))
        rig.backend.wire.send(stream() + coded(OPENAI))
        rig.backend.wire.hang_up()
        self.assertEqual((rig.served, rig.ledger.failed, rig.settled()), (0.0, 1, True))

    def test_old_client(self) -> None:
        """For an HTTP/1.0 client the content comes without chunks, and is read without them."""
        rig = MeteredRig()
        client = rig.ask(b"POST / HTTP/1.0\r\nContent-Length: 2\r\n" + COST + b"\r\n{}")
        rig.backend.wire.send(stream() + coded(OPENAI[:-100]) + coded(OPENAI[-100:]) + b"0\r\n\r\n")
        self.assertEqual((body(client.value()), rig.served), (OPENAI, 6.0))

    def test_comments_before(self) -> None:
        """A stream that began with comments while its request waited is read as its content."""
        rig = MeteredRig(concurrency=1, queue_pings=True)
        first, second = (rig.ask(self.ask(rig, COST + b"Accept: text/event-stream\r\n")) for _ in range(2))
        rig.clock.advance(30.0)
        self.assertIn(b"\n: ", second.read())
        rig.backend.wire.send(stream() + coded(OPENAI) + b"0\r\n\r\n")
        self.assertEqual((rig.served, first.open), (6.0, True))
        rig.backend.wire.send(stream() + coded(VLLM_CONTINUOUS[:99]) + coded(VLLM_CONTINUOUS[99:]) + b"0\r\n\r\n")
        self.assertEqual((rig.served, rig.settled()), (12.0, True))

    def test_stopped_reader(self) -> None:
        """A caller that stops reading holds up the last event, so its load stays until then."""
        rig = MeteredRig()
        client = rig.ask(self.ask(rig))
        rig.backend.wire.send(stream() + coded(events(chunk("x"))))
        client.fill()
        self.assertTrue(rig.backend.wire.paused)
        self.assertEqual(rig.load, 100.0)
        client.drain()
        rig.backend.wire.send(coded(OPENAI))
        self.assertEqual((rig.load, rig.gate.working), (0.0, 1))

    def test_until_close(self) -> None:
        """A stream that ends with its connection is read too."""
        rig = MeteredRig()
        rig.ask(self.ask(rig))
        rig.backend.wire.send(b"HTTP/1.0 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" + VLLM_CONTINUOUS)
        rig.backend.wire.hang_up()
        self.assertEqual((rig.served, rig.settled()), (6.0, True))

    @given(st.lists(st.integers(1, 400), max_size=8))
    def test_passes_unchanged(self, sizes: list[int]) -> None:
        """However a stream is cut into reads, its bytes pass unchanged, each read in the same turn."""
        rig = MeteredRig()
        client = rig.ask(self.ask(rig))
        rig.backend.wire.send(stream())
        client.read()
        rest = coded(OPENAI) + b"0\r\n\r\n"
        for size in [*sizes, len(rest)]:
            part, rest = rest[:size], rest[size:]
            if part:
                rig.backend.wire.send(part)
                self.assertEqual(client.read(), part)
        self.assertEqual((rig.served, rig.settled()), (6.0, True))


class SeveralTests(SynchronousTestCase):
    """Before several backends, the load of a request's backend falls with that of the worker."""

    def rig(self, **more: Any) -> MeteredRig:
        return MeteredRig(several=[Origin("http", name, 8000) for name in ("a", "b")], **more)

    def loads(self, rig: Rig) -> list[float]:
        """The load of each backend in units."""
        assert rig.backends is not None
        return [each.load / MICROS for each in rig.backends.all]

    def test_load_falls(self) -> None:
        """It falls while the stream lasts, is nothing after the last event, and the next request goes by it."""
        rig = self.rig()
        for _ in range(2):
            rig.ask(post(b"{}", extra=COST))
        stream_at = rig.ways[0].wire
        stream_at.send(stream())
        loads = []
        for count in range(1, 101):
            stream_at.send(coded(events(chunk("x", usage=usage(count)))))
            loads.append(rig.load)
            self.assertEqual(self.loads(rig), [rig.load - 100, 100])
        self.assertEqual((loads[0], loads[-1]), (199.0, 103.0))
        stream_at.send(coded(DONE))
        self.assertEqual(self.loads(rig), [0.0, 100.0])
        rig.ask(post(b"{}", extra=b"X-Serverless-Cost: 30\r\n"))
        rig.ask(post(b"{}", extra=b"X-Serverless-Cost: 50\r\n"))
        self.assertEqual(self.loads(rig), [80.0, 100.0])
        stream_at.send(b"0\r\n\r\n")
        self.assertEqual((self.loads(rig), rig.served), ([80.0, 100.0], 100.0))

    def test_caller_leaves(self) -> None:
        """A caller that leaves takes what was left of its work, and no more."""
        rig = self.rig()
        client, _ = (rig.ask(post(b"{}", extra=COST)) for _ in range(2))
        rig.ways[0].wire.send(stream() + coded(events(chunk("x", usage=usage(60)))))
        self.assertEqual((self.loads(rig), rig.load), ([40.0, 100.0], 140.0))
        client.hang_up()
        self.assertEqual((self.loads(rig), rig.load), ([0.0, 100.0], 100.0))

    def test_moved(self) -> None:
        """A request that another backend gets is charged there with all of its work, and that falls there."""
        rig = self.rig()
        for _ in range(2):
            rig.ask(post(b"{}", extra=COST))
        rig.ways[0].wire.hang_up()
        rig.clock.advance(0)
        self.assertEqual(self.loads(rig), [0.0, 200.0])
        rig.ways[1].wire.send(stream() + coded(events(chunk("x", usage=usage(60)))))
        self.assertEqual((self.loads(rig), rig.load), ([0.0, 140.0], 140.0))

    def test_inside_a_session(self) -> None:
        """
        A request inside a session is charged at its backend, where it is work like any other; that falls too.

        Its load at the worker is the session's.
        """
        rig = self.rig(max_sessions=1)
        _, answer = result(rig.ask(post(envelope(b"{}", cost=500), b"/session/create")))
        named = b', "session_id": %b}' % json.dumps(answer["session_id"]).encode()
        rig.ask(post(envelope(b"{}", cost=500)[:-1] + named, b"/v1"))
        self.assertEqual((self.loads(rig), rig.load), ([500.0, 0.0], 500.0))
        rig.ways[0].wire.send(stream() + coded(events(chunk("x", usage=usage(60)))))
        self.assertEqual((self.loads(rig), rig.load), ([440.0, 0.0], 500.0))
        rig.ways[0].wire.send(coded(DONE) + b"0\r\n\r\n")
        self.assertEqual((self.loads(rig), rig.load), ([0.0, 0.0], 500.0))


class FormTests(SynchronousTestCase):
    def form(self, *lines: bytes) -> Form | None:
        head, _ = parse_response_head(b"HTTP/1.1 200 OK\r\n" + b"".join(line + b"\r\n" for line in lines) + b"\r\n")
        return form_of(head)

    def test_media_types(self) -> None:
        """The media type decides, in any spelling; a coding other than identity cannot be read."""
        for line, form in (
            (b"Content-Type: application/json", Form.WHOLE),
            (b"CONTENT-TYPE:Application/JSON ; charset=utf-8", Form.WHOLE),
            (b"content-type: text/event-stream;charset=utf-8", Form.EVENTS),
            (b"Content-Type: application/x-ndjson", Form.LINES),
            (b"Content-Type: application/jsonl", Form.LINES),
            (b"Content-Type: text/plain", None),
            (b"Content-Type:", None),
            (b"X: application/json", None),
        ):
            with self.subTest(line):
                self.assertIs(self.form(line), form)
                self.assertIs(self.form(line, b"Content-Encoding: identity"), form)
                self.assertIsNone(self.form(line, b"content-encoding: br"))

    def test_remembered(self) -> None:
        """The form of a head is remembered, also that it has none, and not for ever."""
        rig = MeteredRig()
        meter = UsageMeter(Ledger(1), "completion")
        client = rig.ask(post(b"{}"))
        exchange = next(iter(rig.server.connections)).handler
        assert isinstance(exchange, Exchange) and client.open
        for number in range(3):
            for value in range(300):
                kind = b"application/json" if value % 2 else b"text/html"
                lines = b"HTTP/1.1 200 OK\r\nX: %d\r\nContent-Type: %b\r\nContent-Length: 2\r\n\r\n" % (value, kind)
                head, length = parse_response_head(lines)
                found = meter.reader(exchange, head, length)
                self.assertEqual(found is not None, bool(value % 2), f"round {number}")
                self.assertLessEqual(meter.known_heads, HEADS_MAX)

"""When a caller hangs up, its work is stopped at the engine, and its slot is free when that has stopped."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Coroutine
from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.rig import OK, Rig, Wire, post
from tests.simulator_support.comfyui import ComfyUIBackend
from tests.worker.requests import envelope
from vespa.engines.comfyui import ComfyUI
from vespa.engines.interface import BackendClient, EngineRequest, EngineResponse, NoResponse, Stop, UnexpectedResponse
from vespa.simulator.comfyui_workflow import workflow
from vespa.worker.engine.aborts import MOST, READ_MAX, RESULTS, Aborts

SECONDS = 10.0
SLOW = b"/slow"
STREAM = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"


@frozen
class Scripted:
    """Stops what is at /slow by what the test does."""

    stop: Callable[[BackendClient, EngineResponse | None], Coroutine[Any, Any, object]]
    needs_response: bool = False

    def begin(self, request: EngineRequest) -> Stop | None:
        return Stop(self.stop, self.needs_response) if request.path == "/slow" else None


class StopsCase(SynchronousTestCase):
    needs_response = False

    def setUp(self) -> None:
        self.stopping: list[Deferred[None]] = []
        self.answers: list[EngineResponse | None] = []
        self.rig = Rig(concurrency=1)
        backend = ComfyUIBackend(self, self.rig.clock)
        scripted = Scripted(self.stop, self.needs_response)
        self.aborts = Aborts(scripted, lambda exchange: backend, self.rig.clock, SECONDS)
        self.rig = Rig(concurrency=1, engine=self.aborts, clock=self.rig.clock)
        self.aborts.freed = self.rig.app.admission.engine_stopped

    async def stop(self, backend: BackendClient, answer: EngineResponse | None) -> None:
        self.answers.append(answer)
        stopping: Deferred[None] = Deferred()
        self.stopping.append(stopping)
        await stopping

    def turn(self, seconds: float = 0.0) -> None:
        self.rig.clock.advance(seconds)

    def results(self) -> dict[str, int]:
        self.assertLessEqual(set(self.aborts.results), set(RESULTS))
        return dict(self.aborts.results)

    def states(self) -> tuple[int, int, int]:
        """Cancelled, slots taken, and attempts under way."""
        return self.rig.ledger.cancelled, self.rig.gate.working, self.aborts.under_way


class Seen:
    """Keeps the requests that it is told of."""

    def __init__(self) -> None:
        self.requests: list[EngineRequest] = []

    def begin(self, request: EngineRequest) -> Stop | None:
        self.requests.append(request)
        return None


class Requests(SynchronousTestCase):
    def payloads(self, *reads: bytes) -> list[bytes | None]:
        """The payload of a request that came in these reads."""
        seen = Seen()
        clock = Clock()
        aborts = Aborts(seen, lambda exchange: ComfyUIBackend(self, clock), clock, SECONDS)
        rig = Rig(secured=True, engine=aborts, clock=clock)
        client = rig.client()
        for read in reads:
            client.send(read)
        self.assertEqual(rig.gate.working, 1)
        return [request.payload for request in seen.requests]

    def test_several_reads(self) -> None:
        """An engine finds its id in a payload however the request was split on its way; not in a larger one."""
        payload = b'{"rid": "' + bytes(range(97, 123)) + b'", "text": "' + b"x" * 3000 + b'"}'
        request = post(envelope(payload), b"/generate")
        for at in (len(request), 100, len(request) // 2, len(request) - 1):
            self.assertEqual(self.payloads(request[:at], request[at:]), [payload], at)
        large = post(envelope(payload.replace(b"x", b"x" * 30)), b"/generate")
        self.assertEqual(self.payloads(large), [None])
        self.assertEqual(self.payloads(large[:9000], large[9000:]), [None])


class Slots(StopsCase):
    def test_free_when_stopped(self) -> None:
        """The books know at once; the next request gets the slot when the engine has stopped."""
        first = self.rig.ask(post(b"{}", SLOW))
        second = self.rig.ask(post(b"{}", SLOW))
        first.hang_up()
        self.turn()
        self.assertEqual((*self.states(), self.rig.ledger.load), (1, 1, 1, 1_000_000))
        self.assertEqual(len(self.rig.backend.wires), 1, "the second still waits")
        self.assertFalse(self.rig.backend.wire.open)
        self.stopping.pop().callback(None)
        self.assertEqual((*self.states(), self.results()), (1, 1, 0, {"stopped": 1}))
        self.assertEqual(len(self.rig.backend.wires), 2)
        self.rig.backend.wire.send(OK)
        self.assertIn(b"200 OK", second.read())
        self.assertTrue(self.rig.settled())

    def test_in_a_stream(self) -> None:
        """A caller that leaves in the middle of a response leaves work behind as well."""
        client = self.rig.ask(post(b"{}", SLOW))
        self.rig.backend.wire.send(STREAM)
        client.hang_up()
        self.turn()
        self.assertEqual(self.states(), (1, 1, 1))
        self.stopping.pop().callback(None)
        self.assertTrue(self.rig.settled())

    def test_bound(self) -> None:
        """An engine that does not stop holds the slot no longer than the limit."""
        self.rig.ask(post(b"{}", SLOW)).hang_up()
        self.turn()
        self.turn(SECONDS - 0.1)
        self.assertEqual(self.states(), (1, 1, 1))
        self.turn(0.2)
        self.assertEqual((*self.states(), self.results()), (1, 0, 0, {"timeout": 1}))

    def test_failures(self) -> None:
        """An attempt that fails frees the slot; that of a user's function is logged with its traceback."""
        for error in (NoResponse("no"), UnexpectedResponse("no"), LookupError("no")):
            self.rig.ask(post(b"{}", SLOW)).hang_up()
            self.turn()
            self.stopping.pop().errback(error)
            self.assertEqual(self.states()[1:], (0, 0))
        self.assertEqual(self.results(), {"failed": 3})
        self.assertEqual(len(self.flushLoggedErrors(LookupError)), 1)

    def test_exit(self) -> None:
        """So does one of a user's function that wants to end the process."""
        self.rig.ask(post(b"{}", SLOW)).hang_up()
        self.turn()
        self.stopping.pop().errback(SystemExit(1))
        self.assertEqual((*self.states(), self.results()), (1, 0, 0, {"failed": 1}))
        self.assertEqual(len(self.flushLoggedErrors(SystemExit)), 1)

    def test_nothing_to_stop(self) -> None:
        """Other requests, queued ones, and those without a connection yet leave no work behind."""
        self.rig.ask(post(b"{}", b"/other")).hang_up()
        self.assertEqual(self.states(), (1, 0, 0))
        self.rig.backend.slow = True
        self.rig.ask(post(b"{}", SLOW)).hang_up()
        self.assertEqual(self.states(), (2, 0, 0), "nothing was sent")
        self.rig.backend.slow = False
        first, second = self.rig.ask(post(b"{}", SLOW)), self.rig.ask(post(b"{}", SLOW))
        second.hang_up()
        self.assertEqual(self.states(), (3, 1, 0), "it waited")
        self.rig.backend.wire.send(OK)
        first.hang_up()
        self.turn()
        self.assertEqual((self.states(), self.stopping), ((3, 0, 0), []), "it was served")
        self.assertTrue(self.rig.settled())

    def test_failed_backend(self) -> None:
        """A backend that broke needs no stop."""
        self.rig.ask(post(b"{}", SLOW))
        self.rig.backend.wire.hang_up()
        self.turn()
        self.assertEqual((self.states(), self.stopping), ((0, 0, 0), []))

    def test_many(self) -> None:
        """The number of attempts has a limit. Above it a slot is free at once."""
        rig = Rig(engine=self.aborts, clock=self.rig.clock)
        self.aborts.freed = rig.app.admission.engine_stopped
        for _ in range(MOST + 3):
            rig.ask(post(b"{}", SLOW)).hang_up()
        self.turn()
        self.assertEqual((rig.gate.working, self.aborts.under_way, self.results()), (MOST, MOST, {"skipped": 3}))
        self.turn(SECONDS)
        self.assertEqual((rig.gate.working, self.aborts.under_way), (0, 0))

    def test_end_of_the_worker(self) -> None:
        """The worker waits for attempts, but not for long."""
        self.successResultOf(Deferred.fromCoroutine(self.aborts.drained(0.0)))
        self.rig.ask(post(b"{}", SLOW)).hang_up()
        self.turn()
        done = Deferred.fromCoroutine(self.aborts.drained(5.0))
        self.turn(4.9)
        self.assertNoResult(done)
        self.stopping.pop().callback(None)
        self.successResultOf(done)
        self.rig.ask(post(b"{}", SLOW)).hang_up()
        self.turn()
        done = Deferred.fromCoroutine(self.aborts.drained(5.0))
        self.turn(5.0)
        self.successResultOf(done)
        self.assertEqual((*self.states(), self.results()), (2, 0, 0, {"stopped": 1, "failed": 1}))


class LateResponses(StopsCase):
    """The work is named by a response that has not come when the caller leaves."""

    needs_response = True

    def leave(self, data: bytes = b"", path: bytes = SLOW) -> Wire:
        """A caller leaves; its connection to the backend."""
        client = self.rig.ask(data or post(b"{}", path))
        wire = self.rig.backend.wire
        client.hang_up()
        self.turn()
        return wire

    def test_awaited(self) -> None:
        """The connection stays until the response has come, and is kept for the next request."""
        wire = self.leave()
        self.assertEqual((self.states(), wire.open), ((1, 1, 1), True))
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab")
        wire.send(b"cd")
        self.assertEqual(self.answers, [EngineResponse(200, b"abcd")])
        self.stopping.pop().callback(None)
        self.assertTrue(self.rig.settled())
        self.rig.ask(post(b"{}", b"/other"))
        self.assertEqual(len(self.rig.backend.wires), 1)

    def test_shapes(self) -> None:
        """A response may come whole, in chunks, or compressed, because its caller asked for that."""
        coded = gzip.compress(b"ok")
        for response in (
            OK,
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b" % (len(coded), coded),
        ):
            wire = self.leave()
            wire.send(response)
            self.assertEqual(self.answers.pop(), EngineResponse(200, b"ok"))
            self.stopping.pop().callback(None)
        self.assertTrue(self.rig.settled())

    def test_none(self) -> None:
        """A backend that closes the connection without a response has nothing to stop."""
        self.leave().hang_up()
        self.assertEqual(self.states(), (1, 0, 0))
        self.assertEqual((self.answers, self.results()), ([], {"stopped": 1}))

    def test_long(self) -> None:
        """Of a long response the beginning is read, which names the work. The rest is cut off."""
        wire = self.leave()
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 999999\r\n\r\n" + bytes(READ_MAX + 1))
        self.assertEqual((self.answers, wire.open), ([EngineResponse(200, bytes(READ_MAX), whole=False)], False))
        self.stopping.pop().callback(None)
        self.assertEqual(self.states(), (1, 0, 0))

    def test_silence(self) -> None:
        """The wait for the response is a part of the limit; the connection is cut then."""
        wire = self.leave()
        self.turn(SECONDS)
        self.assertEqual((self.states(), wire.open, self.results()), ((1, 0, 0), False, {"timeout": 1}))

    def test_incomplete_request(self) -> None:
        """A request whose body did not come whole begins no work."""
        head = b"POST /slow HTTP/1.1\r\nHost: w\r\nContent-Length: 200000\r\n\r\n"
        wire = self.leave(head + bytes(100_000))
        self.assertEqual((self.states(), wire.open), ((1, 0, 0), False))

    def test_response_begun(self) -> None:
        """A response that has begun was the caller's."""
        client = self.rig.ask(post(b"{}", SLOW))
        self.rig.backend.wire.send(STREAM)
        client.hang_up()
        self.turn()
        self.assertEqual(self.states(), (1, 0, 0))


class WithComfyUI(SynchronousTestCase):
    def test_hang_up(self) -> None:
        """POST /prompt is in flight when its caller leaves: its job is taken out of the queue, and no other."""
        rig = Rig()
        backend = ComfyUIBackend(self, rig.clock)
        aborts = Aborts(ComfyUI(), lambda exchange: backend, rig.clock, SECONDS)
        rig = Rig(concurrency=1, engine=aborts, clock=rig.clock)
        aborts.freed = rig.app.admission.engine_stopped
        other = backend.begin(5)
        rig.clock.advance(0)
        client = rig.ask(post(b'{"prompt": {}}', b"/prompt"))
        mine = backend.caller.post_json("/prompt", {"prompt": workflow(6)})
        client.hang_up()
        body = mine.body
        rig.backend.wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        rig.clock.pump([0.25] * 3)
        self.assertEqual((rig.gate.working, backend.comfyui.queue.remaining), (0, 1))
        running = backend.comfyui.queue.running
        assert running is not None
        self.assertEqual((running.prompt_id, backend.comfyui.queue.interrupts), (other, 0))
        self.assertEqual((dict(aborts.results), rig.ledger.cancelled), ({"stopped": 1}, 1))

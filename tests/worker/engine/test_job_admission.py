"""While a job is under way its worker is busy, and its caller may ask for it: for nothing, with the same assignment."""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.rig import OK, Rig, Wire, body, post, status
from tests.simulator_support.comfyui import ComfyUIBackend
from tests.worker.requests import auth, code, envelope
from vespa.accounting.lifecycle import FAILED, SERVED, UNSERVED
from vespa.engines.comfyui import ComfyUI
from vespa.engines.interface import NoResponse
from vespa.observability.ended_requests import EndedRequest, EndedRequests
from vespa.protocol.refusal import Refusal
from vespa.proxy.exchange import Exchange
from vespa.simulator.comfyui_workflow import workflow
from vespa.simulator.signing import query_envelope
from vespa.transport.origin import Origin
from vespa.vast.auth import Auth
from vespa.worker.engine.job_polls import AT_ONCE, BURST, JobPolls
from vespa.worker.engine.job_watcher import JobWatcher

WORK = 2_500_000
STEPS = 8
RESULT_SECONDS = 600.0


class JobCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.make()

    def make(self, **more: Any) -> None:
        """A worker before ComfyUI. It answers on the worker's own wires what the test passes on."""
        clock = Rig().clock
        self.comfyui = ComfyUIBackend(self, clock)
        self.watcher = JobWatcher(ComfyUI(), lambda exchange: self.comfyui, clock, 600.0, 1.0)
        self.polls = JobPolls(ComfyUI(), clock, RESULT_SECONDS)
        self.watcher.began, self.watcher.ended = self.polls.began, self.polls.ended
        self.watcher.cancelled = self.polls.is_cancelled
        self.ended: list[EndedRequest] = []
        observer = EndedRequests(clock)
        observer.subscribe(self.ended.extend)
        settings: dict[str, Any] = {"secured": True, "replay": "reject", "concurrency": 1, **more}
        self.rig = Rig(
            clock=clock, response_reader=self.watcher.reader, polls=self.polls, observer=observer, **settings
        )
        self.ledger = self.rig.ledger

    def begin(self, steps: int = 3, **changes: object) -> tuple[Wire, str]:
        """A caller has begun a job. Its connection, and the job's id."""
        client = self.rig.ask(post(envelope(b'{"prompt": {}}', **changes), b"/prompt"))
        response = self.comfyui.caller.post_json("/prompt", {"prompt": workflow(steps)})
        self.backend_says(response.status, response.body)
        self.assertEqual(status(client.read()), response.status)
        return client, response.json.get("prompt_id", "")

    def backend_says(self, status: int, content: bytes) -> None:
        self.rig.backend.wire.send(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%b" % (status, len(content), content))

    def get(self, path: str, method: str = "GET", extra: bytes = b"", **changes: Any) -> bytes:
        signed = query_envelope(auth(**changes))
        return b"%b %b?%b HTTP/1.1\r\nHost: w\r\n%b\r\n" % (method.encode(), path.encode(), signed.encode(), extra)

    def poll(self, path: str, *, client: Wire | None = None) -> bytes:
        """The response to a poll, which the backend answers."""
        client = client or self.rig.client()
        client.send(self.get(path))
        refused = client.read()
        if refused:
            return refused
        response = self.comfyui.caller.ask("GET", path)
        self.backend_says(response.status, response.body)
        return client.read()

    def pass_time(self, seconds: float) -> None:
        self.rig.clock.pump([0.25] * int(seconds * 4))

    def outcomes(self) -> list[tuple[Any, bool]]:
        return [(each.outcome, each.completed_at > 0) for each in self.ledger.deletes()]


class Accounts(JobCase):
    def test_busy(self) -> None:
        """The job holds its slot, its load and its index until it is done, and is told once, as served."""
        self.begin()
        self.pass_time(STEPS - 1)
        self.assertEqual((self.ledger.load, self.rig.gate.working, self.watcher.in_flight), (WORK, 1, 1))
        self.assertEqual(self.ledger.snapshot().working_request_idxs, (3,))
        self.assertEqual((self.outcomes(), self.ended), ([], []))
        waiting = self.rig.ask(post(envelope(b"{}", request_idx=4, reqnum=8), b"/prompt"))
        self.assertEqual(waiting.read(), b"")
        self.pass_time(3)
        self.assertEqual(self.outcomes(), [(SERVED, True)])
        self.assertEqual((self.ledger.snapshot().served, self.ledger.load), (WORK, WORK))
        self.assertEqual(len(self.rig.backend.open), 1)
        self.backend_says(400, b"{}")
        self.assertEqual(status(waiting.read()), 400)
        self.assertTrue(self.rig.settled())
        self.assertEqual([each.status for each in self.ended], [200, 400])

    def test_caller_leaves(self) -> None:
        """A caller that has its response may leave: the job goes on."""
        client, _ = self.begin()
        client.hang_up()
        self.pass_time(2)
        self.assertEqual((self.rig.gate.working, self.ledger.in_flight), (1, 1))
        self.pass_time(STEPS)
        self.assertEqual(self.outcomes(), [(SERVED, True)])

    def test_next_request(self) -> None:
        """The connection serves the next request while the job is under way."""
        self.make(concurrency=2)
        client, _ = self.begin()
        client.send(post(envelope(b"{}", request_idx=4, reqnum=8), b"/other"))
        self.rig.backend.wire.send(OK)
        self.assertEqual(status(client.read()), 200)
        self.assertEqual((self.ledger.in_flight, self.watcher.in_flight), (1, 1))

    def test_error(self) -> None:
        """A job without a result completes its request, with no work served."""
        self.begin(30)
        self.pass_time(2)
        self.comfyui.comfyui.queue.interrupt()
        self.pass_time(3)
        self.assertEqual(self.outcomes(), [(UNSERVED, True)])
        self.assertEqual(self.ledger.snapshot().served, 0)
        self.assertTrue(self.rig.settled())
        self.assertEqual([(each.code, each.origin) for each in self.ended], [("", "backend")])

    def test_dead_backend(self) -> None:
        """A job whose backend has ended has failed."""
        self.begin(30)
        self.pass_time(2)
        self.comfyui.dead = NoResponse("no", refused=True)
        self.pass_time(3)
        self.assertEqual(self.outcomes(), [(FAILED, True)])
        self.assertTrue(self.rig.settled())
        self.assertEqual([(each.code, each.origin) for each in self.ended], [("job_lost", "backend")])

    def test_no_job(self) -> None:
        """A workflow that ComfyUI refuses is an error like any other."""
        client = self.rig.ask(post(envelope(b"{}"), b"/prompt"))
        self.backend_says(400, b'{"error": {}, "node_errors": {}}')
        self.assertEqual(status(client.read()), 400)
        self.assertEqual(self.outcomes(), [(UNSERVED, True)])
        self.assertTrue(self.rig.settled())


class Polls(JobCase):
    def test_while_it_runs(self) -> None:
        """The only slot is taken, and polls pass: without a slot, a signature check, work, or a delete record."""
        client, name = self.begin()
        self.assertEqual(len(self.rig.verified), 1)
        for path in (f"/history/{name}", "/queue", f"/api/history/{name}"):
            self.assertEqual(status(self.poll(path, client=client)), 200, path)
        self.assertIn(name.encode(), self.poll("/queue"))
        self.assertEqual((len(self.rig.verified), self.ledger.load, self.rig.gate.working), (1, WORK, 1))
        self.assertEqual((self.outcomes(), self.ledger.received, self.polls.count), ([], 5, 4))
        self.pass_time(STEPS + 3)
        self.assertEqual(self.outcomes(), [(SERVED, True)])
        self.assertEqual(self.ledger.snapshot().served, WORK)
        self.assertTrue(self.rig.settled())

    def test_afterwards(self) -> None:
        """The result may be fetched for a while. Then the assignment is used up, as any is."""
        _, name = self.begin()
        self.pass_time(STEPS + 3)
        response = self.poll(f"/history/{name}")
        self.assertEqual(json.loads(body(response))[name]["status"]["status_str"], "success")
        self.assertEqual(status(self.poll("/view")), 404, "without a name")
        self.rig.clock.advance(RESULT_SECONDS)
        self.assertEqual(code(self.poll(f"/history/{name}")), "replayed")
        self.assertEqual(len(self.outcomes()), 1)

    def test_others(self) -> None:
        """Another assignment, method, path, a body or an upgrade makes it a request like any other."""
        self.begin()
        for changed in ({"reqnum": 8}, {"signature": "b3Ro"}):
            self.assertEqual(code(self.rig.ask(self.get("/queue", **changed)).read()), "in_flight", changed)
        self.assertEqual(code(self.rig.ask(self.get("/queue", endpoint="other")).read()), "replayed")
        client = self.rig.ask(self.get("/queue", request_idx=4))
        self.assertEqual((client.read(), self.rig.gate.waiting), (b"", 1))
        self.assertEqual(self.polls.count, 0)
        for request in (
            post(envelope(b'{"delete": []}'), b"/upload/image"),
            self.get("/queue", "DELETE"),
            self.get("/object_info"),
            self.get("/ws", extra=b"Connection: Upgrade\r\nUpgrade: websocket\r\n"),
            self.get("/queue", extra=b"Connection: Upgrade\r\nUpgrade: websocket\r\n"),
            self.get("/queue", extra=b"Content-Length: 1\r\n") + b"x",
        ):
            self.assertEqual(code(self.rig.ask(request).read()), "replayed", request)
        self.make(replay="off")
        self.begin()
        self.assertEqual(code(self.rig.ask(self.get("/object_info")).read()), "in_flight")
        self.assertEqual(self.polls.count, 0)

    def test_cancel(self) -> None:
        """A job is cancelled with its own assignment while it has the only slot. After its end that is used up."""
        client, name = self.begin(60)
        self.rig.backend.wire.read()
        self.pass_time(1)
        for path, payload in (
            ("/queue", b'{"delete": ["%b"]}' % name.encode()),
            ("/interrupt", b'{"prompt_id": "%b"}' % name.encode()),
        ):
            client.send(post(envelope(payload), path.encode()))
            self.assertEqual(self.rig.backend.wire.read().partition(b"\r\n\r\n")[2], payload)
            response = self.comfyui.caller.post_json(path, json.loads(payload))
            self.backend_says(response.status, response.body)
            self.assertEqual(status(client.read()), 200)
        self.assertEqual((len(self.rig.verified), self.ledger.load, self.rig.gate.working), (1, WORK, 1))
        self.pass_time(3)
        self.assertEqual(self.outcomes(), [(UNSERVED, True)])
        self.assertEqual(code(self.rig.ask(post(envelope(b"{}"), b"/interrupt")).read()), "replayed")
        self.assertTrue(self.rig.settled())

    def delete_from_queue(self, answered: int = 200, *, path: str = "/queue", really: bool = True) -> None:
        """A job waits in ComfyUI's queue, and its caller has it deleted there."""
        self.comfyui.queue(60)
        client, name = self.begin()
        self.rig.backend.wire.read()
        self.pass_time(1)
        payload = b'{"delete": ["%b"]}' % name.encode()
        client.send(post(envelope(payload), path.encode()))
        self.assertEqual(self.rig.backend.wire.read().partition(b"\r\n\r\n")[2], payload)
        self.backend_says(answered, b"")
        self.assertEqual(status(client.read()), answered)
        if really:
            self.comfyui.comfyui.queue.delete(name)
        self.pass_time(8)

    def test_deleted(self) -> None:
        """A job that its caller deletes from the queue leaves no trace there, and was cancelled, not lost."""
        for path in ("/queue", "/api/queue"):
            self.make()
            self.delete_from_queue(path=path)
            self.assertEqual((self.outcomes(), self.watcher.results), ([(UNSERVED, True)], {"error": 1}))
            self.assertEqual([(each.code, each.origin) for each in self.ended if each.work], [("", "backend")])
            self.assertTrue(self.rig.settled())

    def test_not_deleted(self) -> None:
        """One that vanishes without such a request is lost, and so is one whose backend refused to delete it."""
        self.delete_from_queue(500)
        self.assertEqual((self.outcomes(), self.watcher.results), ([(FAILED, True)], {"lost": 1}))
        self.make()
        self.comfyui.queue(60)
        _, name = self.begin()
        self.poll("/queue")
        self.comfyui.comfyui.queue.delete(name)
        self.pass_time(8)
        self.assertEqual((self.outcomes(), self.watcher.results), ([(FAILED, True)], {"lost": 1}))
        self.make()
        self.delete_from_queue(really=False)
        self.assertEqual((self.outcomes(), self.watcher.in_flight), ([], 1), "it still waits")

    def test_cancel_unsecured(self) -> None:
        """Without assignments every caller may cancel what runs."""
        self.make(secured=False)
        client = self.rig.ask(post(b'{"prompt": {}}', b"/prompt"))
        self.backend_says(200, self.comfyui.queue(60).body)
        self.assertEqual(status(client.read()), 200)
        self.pass_time(1)
        client.send(post(b"{}", b"/api/interrupt"))
        self.backend_says(200, b"")
        self.assertEqual(status(client.read()), 200, "it waited for no slot")
        self.comfyui.comfyui.queue.interrupt()
        self.pass_time(3)
        self.assertTrue(self.rig.settled())

    def test_head(self) -> None:
        """HEAD is a poll too."""
        self.begin()
        client = self.rig.ask(self.get("/queue", "HEAD"))
        self.rig.backend.wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
        self.assertEqual(status(client.read()), 200)

    def test_rate(self) -> None:
        """Polls are free, so there are not many of them; after a while there may be more."""
        self.begin(60)
        for _ in range(BURST):
            self.assertEqual(status(self.poll("/queue")), 200)
        refused = self.poll("/queue")
        self.assertEqual((status(refused), code(refused)), (429, "too_many_polls"))
        self.pass_time(1)
        results = [status(self.poll("/queue")) for _ in range(11)]
        self.assertEqual(results, [200] * 10 + [429])
        self.assertEqual((self.ledger.load, self.outcomes()), (WORK, []))

    def test_at_once(self) -> None:
        """Few of them are at the backend at the same time, however they end."""
        self.begin(60)
        clients = [self.rig.ask(self.get("/queue")) for _ in range(AT_ONCE)]
        self.assertEqual([client.read() for client in clients], [b""] * AT_ONCE)
        self.assertEqual(code(self.rig.ask(self.get("/queue")).read()), "too_many_polls")
        clients[0].hang_up()
        again = self.rig.ask(self.get("/queue"))
        self.assertEqual(again.read(), b"")
        self.rig.backend.wire.hang_up()
        self.assertEqual(status(again.read()), 502)
        self.assertEqual(self.rig.ask(self.get("/queue")).read(), b"")
        for client in clients[1:]:
            client.hang_up()
        self.assertEqual(self.ledger.load, WORK)

    def test_not_ready(self) -> None:
        """A worker that is not ready refuses polls too, and counts no work for them."""
        self.begin()
        self.rig.unready = Refusal(503, "not_ready", "no")
        self.assertEqual(code(self.poll("/queue")), "not_ready")
        self.assertEqual((self.outcomes(), self.ledger.snapshot().rejected), ([], 0))
        self.rig.unready = None
        self.assertEqual(status(self.poll("/queue")), 200)

    def test_unsecured(self) -> None:
        """Without assignments every caller's polls are those of all jobs."""
        self.make(secured=False)
        client = self.rig.ask(post(b'{"prompt": {}}', b"/prompt"))
        response = self.comfyui.caller.post_json("/prompt", {"prompt": workflow(3)})
        self.backend_says(200, response.body)
        self.assertEqual(status(client.read()), 200)
        client.send(b"GET /queue HTTP/1.1\r\nHost: w\r\n\r\n")
        self.backend_says(200, b"{}")
        self.assertEqual(status(client.read()), 200, "it waited for no slot")
        polling = [self.rig.ask(b"GET /queue HTTP/1.1\r\nHost: w\r\n\r\n") for _ in range(AT_ONCE + 1)]
        self.assertEqual((self.rig.gate.waiting, polling[-1].read()), (1, b""), "too many: it waits for a slot")
        for each in polling:
            each.hang_up()
        self.pass_time(STEPS + 3)
        self.assertTrue(self.rig.settled())


class Sessions(JobCase):
    """Jobs that are begun inside a session, whose assignment names them."""

    def setUp(self) -> None:
        self.inside: list[Exchange] = []
        self.make(sessions=self)

    def session_of(self, auth: Auth) -> Any:
        if auth.session_id != "open":
            raise Refusal(410, "invalid_session", "no")
        return self

    backend: Any = None

    def entered(self, exchange: Exchange) -> None:
        self.inside.append(exchange)

    def left(self, exchange: Exchange) -> None:
        self.inside.remove(exchange)

    def test_polls(self) -> None:
        """A job is in its session until it is done. Its polls belong to the session too, and need no slot."""
        payload = b'{"auth_data": %b, "payload": {}, "session_id": "open"}' % json.dumps(auth()).encode()
        client = self.rig.ask(post(payload, b"/prompt"))
        self.backend_says(200, self.comfyui.queue(3).body)
        self.assertEqual((status(client.read()), len(self.inside), self.ledger.load), (200, 1, 0))
        signed = query_envelope(auth()).encode()
        for session, expected in (
            (b"&serverless_session_id=open", 200),
            (b"", 200),
            (b"&serverless_session_id=x", 410),
        ):
            client.send(b"GET /queue?%b%b HTTP/1.1\r\nHost: w\r\n\r\n" % (signed, session))
            if expected == 200:
                self.assertEqual(len(self.inside), 1 + bool(session))
                self.backend_says(200, b"{}")
            self.assertEqual(status(client.read()), expected)
        self.assertEqual((len(self.inside), self.rig.gate.working), (1, 1))
        self.pass_time(STEPS + 3)
        self.assertEqual((self.inside, self.outcomes()), ([], []))
        self.assertTrue(self.rig.settled())


class SeveralBackends(JobCase):
    def setUp(self) -> None:
        self.make(several=[Origin("http", "10.0.0.1", 8000 + each) for each in range(2)], replay="off")

    def respond(self, which: int, content: bytes) -> None:
        self.rig.ways[which].wire.send(b"HTTP/1.1 200 X\r\nContent-Length: %d\r\n\r\n%b" % (len(content), content))

    def test_poll(self) -> None:
        """A poll goes to the backend that has the job, and to no other one, even if that is dead."""
        first = self.rig.ask(post(envelope(b"{}"), b"/other"))
        client = self.rig.ask(post(envelope(b"{}", request_idx=4), b"/prompt"))
        self.respond(1, self.comfyui.queue(60).body)
        self.assertEqual(status(client.read()), 200)
        self.respond(0, b"{}")
        self.assertEqual(status(first.read()), 200)
        poll = self.get("/queue", request_idx=4)
        client.send(poll)
        self.respond(1, b"[]")
        self.assertEqual(body(client.read()), b"[]")
        self.rig.ways[1].refusing = True
        self.rig.ways[1].wire.hang_up()
        client.send(poll)
        self.rig.clock.advance(0)
        self.assertEqual(status(client.read()), 502)
        self.assertEqual(len(self.rig.ways[0].open), 1)
        assert self.rig.backends is not None
        self.assertEqual([each.moved for each in self.rig.backends.all], [0, 0])
        self.assertEqual((self.ledger.load, self.rig.gate.working, self.watcher.in_flight), (WORK, 1, 1))

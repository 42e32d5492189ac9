"""Sessions, jobs and the time to the first token through a whole chain: client, workers, and a backend for each."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from klein import Klein
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.task import deferLater
from twisted.web.server import Request

from tests.e2e.callers import CallerCase
from tests.processes import until
from tests.simulator_support.deployment import ControlledDeployment
from tests.simulator_support.held_clock import HeldClock
from vespa.client import SessionError, VastClient
from vespa.http.agent import Agent
from vespa.runtime.http_client import BoundedClient, Response
from vespa.simulator import responses
from vespa.simulator.comfyui import PICTURE, SimulatedComfyUI
from vespa.simulator.comfyui_workflow import workflow
from vespa.simulator.serving import Served, serve

CHAT = {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 8}


class Backend(responses.KleinRoutes):
    """Answers everything with its own name, at once or after `seconds`, and knows what it was asked."""

    app = Klein()

    def __init__(self, name: str) -> None:
        self.name = name
        self.seconds = 0.0
        self.seen: list[tuple[str, Any]] = []
        self.left = 0  # callers that hung up

    @app.route("/health")
    def _health(self, request: Request) -> bytes:
        return b"ok"

    @app.route("/", branch=True)
    async def _any(self, request: Request) -> bytes:
        body = responses.read_body(request)
        self.seen.append((request.path.decode(), json.loads(body) if body else None))
        if self.seconds:
            try:
                await deferLater(reactor, self.seconds)
            except CancelledError:
                self.left += 1
                raise
        return responses.send_json(request, {"backend": self.name})


class KeptCase(CallerCase):
    """Two workers, each with a backend of its own in this process."""

    async def start_two(self, backends: Mapping[str, Any], **settings: str) -> ControlledDeployment:
        deployment = self.deployment()
        await deployment.start_autoscaler()
        for backend in backends.values():
            served = await serve(
                backend.resource(),
                TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1"),
                getattr(backend, "upgrades", None),
            )
            self.addCleanup(_stopped, served)
            deployment.backend_url = served.url
            await self.start_workers(deployment, 1, tls=True, **settings)
        agent = Agent(reactor, name="proxy")
        self.addCleanup(agent.close)
        self.http = BoundedClient(agent, reactor)
        return deployment

    async def ask(self, url: str, value: Any = None, **headers: str) -> Response:
        body = None if value is None else json.dumps(value).encode()
        fields = {name.replace("_", "-"): text for name, text in headers.items()}
        if body is not None:
            fields["Content-Type"] = "application/json"
        method = "GET" if body is None else "POST"
        return await self.http.request(method, url, timeout=30.0, body=body, headers=fields)

    def loads(self, deployment: ControlledDeployment) -> list[float]:
        """The work in flight at each worker, as the autoscaler knows it."""
        return [deployment.autoscaler.totals.of(worker.id).in_flight / 1e6 for worker in deployment.workers]

    def embedded(self, deployment: ControlledDeployment, **settings: Any) -> VastClient:
        url = deployment.autoscaler_url
        return VastClient("demo", "endpoint-key", autoscaler_url=url, console_url=url, reactor=reactor, **settings)


def _stopped(served: Served) -> Deferred[None]:
    return Deferred.fromCoroutine(served.stop())


class SessionTests(KeptCase):
    def setUp(self) -> None:
        super().setUp()
        self.backends = {name: Backend(name) for name in ("a", "b")}

    def of(self, answer: Response) -> str:
        self.assertEqual(answer.status, 200, answer.body)
        name: str = json.loads(answer.body)["backend"]
        return name

    async def session_books(self, deployment: ControlledDeployment, work: float) -> None:
        """Wait until each assignment is told finished, once. All work was served, also that inside sessions."""
        totals = deployment.autoscaler.totals
        workers = [totals.of(worker.id) for worker in deployment.workers]
        await until(
            lambda: (
                sorted(totals.finished()) == sorted(totals.costs)
                and sum(worker.served for worker in workers) == work * 1e6
                and not any(worker.in_flight or worker.working_request_idxs for worker in workers)
            ),
            20,
            "the books are closed",
        )
        self.assertEqual(totals.twice(), [])
        self.assertEqual([str(each) for each in deployment.autoscaler.malformed], [])
        for worker in workers:
            self.assertEqual(worker.received, worker.served)
            self.assertEqual(set(worker.outcomes()) - {"Success"}, set())

    async def test_in_a_program(self) -> None:
        """All requests of a session reach one backend, which hears of its end; the books balance."""
        deployment = await self.start_two(self.backends)
        async with self.embedded(deployment) as client:
            async with client.session(cost=700, on_close_route="/bye?x=1", on_close_payload={"y": 2}) as session:
                asked = [self.ask(f"{session.url}/v1/chat", CHAT, **session.headers) for _ in range(6)]
                asked += [self.ask(f"{session.url}/v1/models?z=3", **session.headers) for _ in range(3)]
                answers = await gatherResults([Deferred.fromCoroutine(each) for each in asked])
                (name,) = {self.of(answer) for answer in answers}
                await until(lambda: sorted(self.loads(deployment)) == [0.0, 700.0], 20, "the session is reported")
                outside = await gatherResults(
                    [Deferred.fromCoroutine(self.ask(f"{client.url}/v1/chat", CHAT)) for _ in range(4)]
                )
                self.assertEqual({answer.status for answer in outside}, {200})
                other = next(each for each in self.backends if each != name)
                self.assertEqual({self.of(answer) for answer in outside}, {other}, "the session counts as load")
            (told,) = [body for path, body in self.backends[name].seen if path == "/bye"]
            self.assertEqual(told, {"y": 2, "session_id": session.id})
            after = await self.ask(f"{client.url}/v1/chat", CHAT, **session.headers)
            self.of(after)
        # The session of 9 requests and itself, 4 requests outside, and a new session of one request.
        await self.session_books(deployment, 10 * 700.0 + 4 + 2)
        self.assert_clean(deployment)

    async def test_by_field(self) -> None:
        """Plain HTTP needs one field. At its end the client ends what it has opened."""
        deployment = await self.start_two(self.backends)
        client = await deployment.start_client()
        fields = {"X_Vespa_Session": "run-1", "X_Serverless_Cost": "500", "X_Vespa_Session_Lifetime": "600"}
        first = self.of(await self.ask(f"{client.url}/step", CHAT, **fields))
        self.assertEqual([self.of(await self.ask(f"{client.url}/step", CHAT, **fields)) for _ in range(5)], [first] * 5)
        await until(lambda: sorted(self.loads(deployment)) == [0.0, 500.0], 20, "the session is reported")
        client.signal("TERM")
        self.assertEqual(await self.until_exit(client, 20.0), 0, client.text)
        await self.session_books(deployment, 7 * 500.0)
        self.assertNotIn("run-1", "".join(worker.text for worker in deployment.workers))

    async def test_worker_is_killed(self) -> None:
        """The session dies with its worker: its caller hears it, and no other worker gets its requests."""
        deployment = await self.start_two(self.backends)
        client = await deployment.start_client()
        fields = {"X_Vespa_Session": "run-1"}
        first = self.of(await self.ask(f"{client.url}/step", CHAT, **fields))
        await deployment.kill(self.assigned(deployment), noticed=True)
        other = self.backends["b" if first == "a" else "a"]
        before = len(other.seen)
        answer = await self.ask(f"{client.url}/step", CHAT, **fields)
        self.assertEqual((answer.status, answer.header("X-Vespa-Error")), (502, "session_unreachable"), answer.body)
        self.assertEqual(len(other.seen), before)
        self.assertEqual(self.of(await self.ask(f"{client.url}/step", CHAT, X_Vespa_Session="run-2")), other.name)

    async def test_expired(self) -> None:
        """A session whose time is over is 410, and then the name is free."""
        deployment = await self.start_two(self.backends)
        client = await deployment.start_client()
        # Its first request has to come before it is over, also on a busy machine.
        fields = {"X_Vespa_Session": "run-1", "X_Vespa_Session_Lifetime": "2"}
        self.of(await self.ask(f"{client.url}/step", CHAT, **fields))
        totals = deployment.autoscaler.totals
        await until(lambda: totals.finished(), 30, "the end of the session is told")
        answer = await self.ask(f"{client.url}/step", CHAT, **fields)
        self.assertEqual((answer.status, answer.header("X-Vespa-Error")), (410, "invalid_session"), answer.body)
        self.of(await self.ask(f"{client.url}/step", CHAT, **fields))

    async def test_no_room(self) -> None:
        """Workers without sessions, or with no room, are an error that says so."""
        deployment = await self.start_two(self.backends, VESPA_MAX_SESSIONS="1")
        async with self.embedded(deployment, attempts=4) as client:
            async with client.session() as first, client.session() as second:
                self.assertNotEqual(first.id, second.id)
                try:
                    async with client.session():
                        raise AssertionError("there is no room")
                except SessionError as error:
                    self.assertEqual(error.code, "too_many_sessions")
        await self.balanced(deployment)


class FirstTokenTests(KeptCase):
    async def test_slow_worker(self) -> None:
        """The caller of a stuck worker is served by the other one; each attempt is told, the first as cancelled."""
        backends = {name: Backend(name) for name in ("a", "b")}
        deployment = await self.start_two(backends)
        client = await deployment.start_client(first_token_timeout=4.0)
        # With the same load, the autoscaler names the first one.
        backends["a"].seconds = 60.0
        answer = await self.ask(f"{client.url}/v1/chat", CHAT, X_Serverless_Cost="5")
        self.assertEqual(json.loads(answer.body), {"backend": "b"})
        await until(lambda: backends["a"].left == 1, 20, "the stuck backend is hung up on")
        finished = await self.balanced(deployment)
        self.assertEqual(len(finished), 2)
        totals = deployment.autoscaler.totals
        told = [dict(totals.of(worker.id).outcomes()) for worker in deployment.workers]
        self.assertEqual(told, [{"Cancelled": 1}, {"Success": 1}])
        self.assert_clean(deployment)


class JobTests(KeptCase):
    async def test_comfyui(self) -> None:
        """A job is begun and followed at the client as at ComfyUI; its polls reach its worker, and are free."""
        clock = HeldClock()
        self.addCleanup(clock.hold)
        backends = {name: SimulatedComfyUI(clock, step_seconds=0.05) for name in ("a", "b")}
        # The ids of two servers differ.
        backends["b"].new_id = lambda: "bbbbbbbb-0000-0000-0000-000000000001"  # type: ignore[method-assign]
        deployment = await self.start_two(
            backends,
            VESPA_JOBS="comfyui",
            VESPA_JOB_POLL_INTERVAL="0.1",
            VESPA_HEALTHCHECK_ENDPOINT="/system_stats",
            VESPA_BENCHMARK="tests.e2e.test_kept_requests:constant_benchmark",
            VESPA_REPLAY="reject",
        )
        client = await deployment.start_client(jobs="comfyui")
        clock.hold()
        ids = []
        for _ in range(2):
            begun = await self.ask(f"{client.url}/prompt", {"prompt": workflow(4)}, X_Serverless_Cost="50")
            self.assertEqual(begun.status, 200, begun.body)
            ids.append(json.loads(begun.body)["prompt_id"])
        await until(lambda: self.loads(deployment) == [50.0, 50.0], 20, "both workers have a job")
        clock.go_on()
        for each in ids:
            picture = await self._picture(client.url, each)
            self.assertEqual(picture.body, PICTURE)
        unknown = await self.ask(f"{client.url}/view?filename=x.png", X_Vespa_Job="no-such-job")
        self.assertEqual((unknown.status, unknown.header("X-Vespa-Error")), (410, "unknown_job"))
        finished = await self.balanced(deployment)
        self.assertEqual(len(finished), 2, "polls are not told")
        self.assert_clean(deployment)

    async def _picture(self, url: str, job: str) -> Response:
        history: dict[str, Any] = {}
        while job not in history:
            await deferLater(reactor, 0.3)
            answer = await self.ask(f"{url}/history/{job}")
            self.assertEqual(answer.status, 200, answer.body)
            history = json.loads(answer.body)
        name = history[job]["outputs"]["9"]["images"][0]["filename"]
        return await self.ask(f"{url}/view?filename={name}", X_Vespa_Job=job)


async def constant_benchmark(backend_url: str, session: Any) -> float:
    """A figure that needs no model."""
    return 200.0

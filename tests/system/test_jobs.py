"""A worker process before the stand-in of ComfyUI: it is busy while a job is, and stops jobs that nobody waits for."""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint

from tests.contract.reader import Response
from tests.processes import until
from tests.simulator_support.held_clock import HeldClock
from tests.system.case import SystemCase
from tests.system.peer import Peer
from vespa.simulator.child import Child
from vespa.simulator.comfyui import PICTURE, SimulatedComfyUI
from vespa.simulator.comfyui_workflow import workflow
from vespa.simulator.serving import serve

SETTINGS = {
    "VESPA_JOBS": "comfyui",
    "VESPA_JOB_POLL_INTERVAL": "0.1",
    "VESPA_ABORT": "comfyui",
    "VESPA_HEALTHCHECK_ENDPOINT": "/system_stats",
    "VESPA_ALLOW_PARALLEL": "false",
    "VESPA_REPLAY": "reject",
}


class JobCase(SystemCase):
    def setUp(self) -> None:
        super().setUp()
        self.clock = HeldClock()
        self.addCleanup(self.clock.hold)
        self.comfyui = SimulatedComfyUI(self.clock, step_seconds=0.05)

    def assigned(self, count: int) -> list[tuple[int, dict[str, Any]]]:
        """So many assignments, with their numbers."""
        return [(number, self.assign()) for number in range(count)]

    async def before_comfyui(self, also: str = "", **more: str) -> Child:
        """A worker before the stand-in, which is in this process, and maybe another backend."""
        served = await serve(
            self.comfyui.resource(), TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1"), self.comfyui.upgrades
        )
        self.addCleanup(lambda: Deferred.fromCoroutine(served.stop()))
        self.backend_url = f"{served.url},{also}" if also else served.url
        return await self.start_worker(**{**SETTINGS, **more})

    async def prompt(
        self, auth: dict[str, Any], steps: int = 4, *, broken: bool = False, prompt_id: str | None = None
    ) -> Response:
        """The response to POST /prompt."""
        payload = {"prompt": workflow(steps, broken=broken), "prompt_id": prompt_id}
        peer, _ = await self.call("/prompt", payload, auth=auth)
        return await peer.answer()

    async def poll(self, path: str, auth: dict[str, Any]) -> Response:
        peer, _ = await self.ask("GET", path, auth=auth)
        return await peer.answer()

    async def leave(self, *peers: Peer) -> None:
        """Cut connections, and return when the worker knows it."""
        for peer in peers:
            peer.cut()
        await self.until_read()

    def job(self, response: Response) -> str:
        self.assertEqual(response.status, 200, bytes(response.body))
        found: str = json.loads(bytes(response.body))["prompt_id"]
        return found


class JobTests(JobCase):
    async def test_busy(self) -> None:
        """The autoscaler sees the load until the job is done. Its caller polls meanwhile, and has the picture then."""
        worker = await self.before_comfyui()
        self.clock.hold()
        auth = self.assign()
        name = self.job(await self.prompt(auth))
        self.assertEqual(json.loads(bytes((await self.poll(f"/history/{name}", auth)).body)), {})
        await self.until_worker(worker, lambda: self.reports[-1].cur_load == 10.0, "the load is reported")
        self.assertEqual(self.reports[-1].working_request_idxs, (auth["request_idx"],))
        self.assertEqual(self.finished, [])
        second = self.assign()
        waiting, _ = await self.call("/prompt", {"prompt": workflow(1)}, auth=second)
        again, _ = await self.call("/prompt", {"prompt": workflow(1)}, auth=auth)
        self.assertEqual((await again.answer()).values(b"x-vespa-error"), [b"replayed"])
        self.clock.go_on()
        await until(lambda: name in self.comfyui.queue.history, what="the job is done")
        self.job(await waiting.answer())
        history = json.loads(bytes((await self.poll(f"/history/{name}", auth)).body))
        (picture,) = history[name]["outputs"]["9"]["images"]
        view = await self.poll(f"/view?filename={picture['filename']}", auth)
        self.assertEqual((view.status, bytes(view.body)), (200, PICTURE))
        await self.told(worker, Success=2)
        self.assertEqual(self.worker_totals.served, 20_000_000)
        await self.end_well(worker)

    async def test_error(self) -> None:
        """A job without a result, and a workflow that ComfyUI refuses, are told as such a response is."""
        worker = await self.before_comfyui()
        self.job(await self.prompt(self.assign(), broken=True))
        response = await (await self.call("/prompt", {"prompt": {}}))[0].answer()
        self.assertEqual(response.status, 400)
        await self.told(worker, Success=2)
        self.assertEqual(self.worker_totals.served, 0)
        await self.end_well(worker)

    async def test_deleted(self) -> None:
        """A job that its caller deletes while it waits in ComfyUI's queue is told as one without a result."""
        worker = await self.before_comfyui()
        self.clock.hold()
        auth = self.assign()
        name = self.job(await self.prompt(auth))
        peer, _ = await self.call("/queue", {"delete": [name]}, auth=auth)
        self.assertEqual((await peer.answer()).status, 200)
        self.assertEqual(self.comfyui.queue.remaining, 0)
        self.clock.go_on()
        await self.told(worker, Success=1)
        self.assertEqual(self.worker_totals.served, 0)
        await self.end_well(worker)

    async def test_several_backends(self) -> None:
        """Each job is at a backend of its own, is followed there, and polled there."""
        other = SimulatedComfyUI(self.clock, step_seconds=0.05)
        other.number = 100
        served = await serve(other.resource(), TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1"))
        self.addCleanup(lambda: Deferred.fromCoroutine(served.stop()))
        worker = await self.before_comfyui(also=served.url)
        self.clock.hold()
        jobs = [(auth, self.job(await self.prompt(auth, prompt_id=f"job-{n}"))) for n, auth in self.assigned(2)]
        self.clock.advance(0.0)  # both begin
        self.assertEqual((self.comfyui.queue.remaining, other.queue.remaining), (1, 1))
        await self.until_worker(worker, lambda: self.reports[-1].cur_load == 20.0, "the load is reported")
        for auth, name in jobs:
            queue = json.loads(bytes((await self.poll("/queue", auth)).body))
            self.assertEqual([each[1] for each in queue["queue_running"]], [name])
        self.clock.go_on()
        await self.told(worker, Success=2)
        for auth, name in jobs:
            self.assertEqual(list(json.loads(bytes((await self.poll(f"/history/{name}", auth)).body))), [name])
        self.comfyui.prompt_seconds = other.prompt_seconds = 0.5
        self.clock.hold()
        peers = [(await self.call("/prompt", {"prompt": workflow(1000)}))[0] for _ in range(2)]
        await until(lambda: self.comfyui.queue.remaining and other.queue.remaining, what="both have one")
        self.clock.advance(0.0)  # both run
        await self.leave(*peers)
        self.clock.go_on()
        await until(lambda: not self.comfyui.queue.remaining and not other.queue.remaining, what="both are stopped")
        await self.told(worker, Success=2, Cancelled=2)
        await self.end_well(worker)

    async def test_killed(self) -> None:
        """ComfyUI's process is killed: its job has failed within seconds, and is told so."""
        child = self.start([sys.executable, "-m", "vespa.simulator.comfyui_process", "0", "5"])
        self.backend_url = (await self.until_line(child, r"comfyui: (http://\S+)")).group(1)
        worker = await self.start_worker(**SETTINGS)
        self.job(await self.prompt(self.assign()))
        assert child.pid is not None
        os.kill(child.pid, signal.SIGKILL)
        await self.told(worker, Error=1)
        await self.until_line(worker, "job_lost")

    async def test_function(self) -> None:
        """A function of the user's follows its own jobs."""
        path = os.path.join(self.folder, "mine.py")
        with open(path, "w", encoding="utf-8") as file:
            file.write(FUNCTIONS)
        worker = await self.before_comfyui(VESPA_JOBS=f"{path}:job", VESPA_ABORT=f"{path}:abort")
        self.clock.hold()
        auth = self.assign()
        name = self.job(await self.prompt(auth))
        await self.until_worker(worker, lambda: self.reports[-1].cur_load == 10.0, "the load is reported")
        self.clock.go_on()
        await until(lambda: name in self.comfyui.queue.history, what="the job is done")
        await self.told(worker, Success=1)
        self.comfyui.prompt_seconds = 60.0
        peer, _ = await self.call("/prompt", {"prompt": workflow(100)})
        await until(lambda: self.comfyui.queue.running is not None, what="it runs")
        peer.cut()
        await until(lambda: self.comfyui.queue.remaining == 0, what="it is stopped")
        await self.told(worker, Success=1, Cancelled=1)
        await self.end_well(worker)

    async def test_wrong_function(self) -> None:
        """A function that is not there is one sentence, told to the autoscaler too."""
        await self.start_around()
        worker = self.launch(VESPA_ABORT="os:nothing")
        await self.until_worker(
            worker, lambda: any("os has no nothing" in each.error_msg for each in self.reports), "it is told"
        )
        self.assertIn("VESPA_ABORT=os:nothing: os has no nothing", self.reports[-1].error_msg)


FUNCTIONS = """
def job(request, answer):
    if request.path != "/prompt":
        return None
    name = answer.json["prompt_id"]

    async def check(ask):
        return True if name in (await ask("GET", f"/history/{name}")).json else None

    return check


async def abort(request, ask):
    assert request.json["prompt"], request
    await ask("POST", "/interrupt", {})
"""


class AbortTests(JobCase):
    async def test_hang_up(self) -> None:
        """The caller leaves while POST /prompt is in flight: its job is stopped, and the slot is free then."""
        worker = await self.before_comfyui()
        self.comfyui.prompt_seconds = 0.5
        self.clock.hold()
        peer, _ = await self.call("/prompt", {"prompt": workflow(1000)})
        await until(lambda: self.comfyui.queue.remaining, what="it is in the queue")
        self.clock.advance(0.0)  # it runs
        await self.leave(peer)
        self.clock.go_on()
        waiting, _ = await self.call("/prompt", {"prompt": workflow(2)})
        self.job(await waiting.answer())
        self.assertEqual(self.comfyui.queue.interrupts, 1)
        await self.told(worker, Cancelled=1, Success=1)
        self.assertEqual(self.worker_totals.served, 10_000_000)
        await self.end_well(worker)

    async def test_too_long(self) -> None:
        """A job that takes too long is stopped in the engine, and has failed."""
        worker = await self.before_comfyui(VESPA_JOB_TIMEOUT="0.5")
        self.job(await self.prompt(self.assign(), 1000))
        await self.told(worker, Error=1)
        self.assertEqual((self.comfyui.queue.interrupts, self.comfyui.queue.remaining), (1, 0))
        await self.until_line(worker, "job_timeout")


class DrainTests(JobCase):
    async def test_in_time(self) -> None:
        """At SIGTERM the worker waits for its job, and tells its end."""
        worker = await self.before_comfyui()
        self.job(await self.prompt(self.assign(), 30))
        worker.signal("TERM")
        self.assertEqual(await self.until_exit(worker, 20.0), 0, worker.text)
        await self.told(worker, Success=1)
        self.assertEqual((self.reports[-1].cur_load, self.comfyui.queue.remaining), (0.0, 0))

    async def test_too_late(self) -> None:
        """A job that is still under way after the drain's time has failed."""
        worker = await self.before_comfyui(VESPA_DRAIN_TIMEOUT="0.5")
        self.job(await self.prompt(self.assign(), 1000))
        worker.signal("TERM")
        self.assertEqual(await self.until_exit(worker, 20.0), 0, worker.text)
        await self.told(worker, Error=1)

"""A worker process before the stand-in of the wrapper in Vast's ComfyUI image: benchmark, jobs, hang-ups."""

from __future__ import annotations

import json
import sys

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint

from tests.processes import until
from tests.simulator_support.comfyui_wrapper import SimulatedWrapper
from tests.simulator_support.held_clock import HeldClock
from tests.system.case import SystemCase
from vespa.simulator.child import Child
from vespa.simulator.serving import serve

ENGINE = {"VESPA_JOBS": "comfyui-wrapper", "VESPA_ABORT": "comfyui-wrapper", "VESPA_JOB_POLL_INTERVAL": "0.1"}


def payload(steps: int, name: str = "") -> dict[str, object]:
    named = {"request_id": name} if name else {}
    return {"input": {**named, "modifier": "Text2Image", "modifications": {"steps": steps}}}


class WrapperTests(SystemCase):
    async def start_wrapper(self) -> None:
        self.clock = HeldClock()
        self.addCleanup(self.clock.hold)
        self.wrapper = SimulatedWrapper(self.clock, step_seconds=0.02)
        served = await serve(self.wrapper.resource(), TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1"))
        self.addCleanup(lambda: Deferred.fromCoroutine(served.stop()))
        self.backend_url = served.url

    async def before_wrapper(self) -> Child:
        await self.start_wrapper()
        return await self.start_worker(VESPA_ALLOW_PARALLEL="false", **ENGINE)

    async def test_benchmark(self) -> None:
        """The benchmark for ComfyUI measures it."""
        await self.start_wrapper()
        options = ("--benchmark", "benchmarks.comfyui:benchmark", "--backend", self.backend_url, "--json")
        child = self.start(
            [sys.executable, "-c", "import sys; from vespa.cli import main; sys.exit(main())", "benchmark", *options],
            {"BENCHMARK_TEST_STEPS": "5"},
        )
        self.assertEqual(await self.until_exit(child), 0, child.text)
        figure = json.loads(child.text[child.text.index("{") : child.text.rindex("}") + 1])["throughput"]
        # 10 steps of 20 ms: 100 units take 0.2 s at least, however quick the machine is.
        self.assertTrue(0 < figure <= 500, figure)

    async def test_job(self) -> None:
        """POST /generate is followed to its result, which its caller fetches for nothing."""
        worker = await self.before_wrapper()
        self.clock.hold()
        auth = self.assign()
        peer, _ = await self.call("/generate", payload(5), auth=auth)
        begun = await peer.answer()
        self.assertEqual(begun.status, 202)
        name = json.loads(bytes(begun.body))["id"]
        await self.until_worker(worker, lambda: self.reports[-1].cur_load == 10.0, "the load is reported")

        async def state() -> str:
            peer, _ = await self.ask("GET", f"/result/{name}", auth=auth)
            found: str = json.loads(bytes((await peer.answer()).body))["status"]
            return found

        self.assertEqual(await state(), "pending")
        self.clock.go_on()
        await until(lambda: name in self.wrapper.queue.history, what="the job is done")
        self.assertEqual(await state(), "completed")
        await self.told(worker, Success=1)
        await self.end_well(worker)

    async def test_hang_up(self) -> None:
        """A caller that leaves /generate/sync is cancelled by its own id; the slot is free then."""
        worker = await self.before_wrapper()
        peer, _ = await self.call("/generate/sync", payload(5000, "mine"))
        await until(lambda: self.wrapper.queue.running is not None, what="it runs")
        peer.cut()
        after, _ = await self.call("/generate/sync", payload(2))
        self.assertEqual(json.loads(bytes((await after.answer()).body))["status"], "completed")
        self.assertEqual(self.wrapper.cancels, ["mine"])
        await self.told(worker, Cancelled=1, Success=1)
        await self.end_well(worker)

"""The stand-in of ComfyUI in memory, as `vespa.engines` asks it, and a stand-in of the wrapper before it."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import SynchronousTestCase

from tests.simulator_support.caller import Caller, Response
from vespa.engines.interface import EngineResponse, NoResponse
from vespa.simulator.comfyui import SimulatedComfyUI
from vespa.simulator.comfyui_workflow import workflow


class ComfyUIBackend:
    """Asks the stand-in, which answers at once. `dead` is the error with which it does not answer."""

    def __init__(self, case: SynchronousTestCase, clock: Clock, *, step_seconds: float = 1.0) -> None:
        self.clock = clock
        self.comfyui = SimulatedComfyUI(clock, step_seconds=step_seconds)
        self.caller = Caller(case, self.comfyui.resource())
        self.asked: list[tuple[str, str, object]] = []
        self.dead: NoResponse | None = None
        case.addCleanup(self.comfyui.queue.stop)

    async def ask(self, method: str, path: str, value: object = None) -> EngineResponse:
        self.asked.append((method, path, value))
        if self.dead is not None:
            raise self.dead
        response = self.caller.ask(method, path, None if value is None else json.dumps(value).encode())
        return EngineResponse(response.status, response.body)

    async def pause(self, seconds: float) -> None:
        await deferLater(self.clock, seconds)

    def queue(self, steps: int = 3, **more: Any) -> Response:
        """POST /prompt."""
        return self.caller.post_json("/prompt", {"prompt": workflow(steps), **more})

    def begin(self, steps: int = 3, **more: Any) -> str:
        """Queue a job and return its id. It is 5 steps longer than `steps`."""
        found: str = self.queue(steps, **more).json["prompt_id"]
        return found

    def did(self, method: str) -> list[tuple[str, object]]:
        """What was asked with this method: paths and values."""
        return [(path, value) for each, path, value in self.asked if each == method]

"""
A stand-in of the API wrapper that Vast's image of ComfyUI has before it, over the stand-in's queue.

It follows main.py of ai-dock/comfyui-api-wrapper (November 2026), as far as workers and benchmarks use it. A modifier
stands for the stand-in's small workflow, with the steps that the modifications name.
"""

from __future__ import annotations

from itertools import count
from typing import Any

from klein import Klein
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.web.server import Request

from vespa.simulator import responses
from vespa.simulator.comfyui_queue import ComfyUIQueue, Queued
from vespa.simulator.comfyui_workflow import validate, workflow

POLL_SECONDS = 0.02
_FINAL = ("completed", "failed", "cancelled")


class SimulatedWrapper(responses.KleinRoutes):
    """The wrapper's resource. `cancels` are the ids that callers cancelled; `left` those whose callers left."""

    app = Klein()

    def __init__(self, clock: IReactorTime, *, step_seconds: float = 0.05) -> None:
        self.clock = clock
        self.queue = ComfyUIQueue(clock, lambda event, data, client: None, step_seconds)
        self.cancels: list[str] = []
        self.left: list[str] = []
        self._results: dict[str, dict[str, Any]] = {}
        self._numbers = count(1)

    def _begin(self, request: Request) -> str:
        asked = responses.read_question(request, dict[str, Any])["input"]
        number = next(self._numbers)
        name = str(asked.get("request_id") or f"request-{number}")
        changes = asked.get("modifications", {})
        prompt = asked.get("workflow_json") or workflow(changes.get("steps", 20), changes.get("seed", number))
        error, _, outputs = validate(prompt)
        self._results[name] = {"id": name, "status": "failed" if error else "pending", "message": "", "output": []}
        if not error:
            self.queue.put(Queued(float(number), name, prompt, {}, outputs))
        return name

    def _result_of(self, name: str) -> dict[str, Any]:
        result = self._results[name]
        if result["status"] not in _FINAL and name in self.queue.history:
            done = self.queue.history[name]["status"]["completed"]
            result["status"] = "completed" if done else "failed"
        return result

    @app.route("/generate", methods=["POST"])
    def _generate(self, request: Request) -> bytes:
        return responses.send_json(request, self._result_of(self._begin(request)), 202)

    @app.route("/generate/sync", methods=["POST"])
    async def _generate_sync(self, request: Request) -> bytes:
        name = self._begin(request)
        gone: Deferred[Any] = request.notifyFinish()
        gone.addErrback(lambda failure: self.left.append(name))
        while self._result_of(name)["status"] not in _FINAL:
            await deferLater(self.clock, POLL_SECONDS)
        return responses.send_json(request, self._results[name])

    @app.route("/result/<name>", methods=["GET"])
    def _result(self, request: Request, name: str) -> bytes:
        if name not in self._results:
            return responses.send_json(request, {"id": name, "status": "failed"}, 404)
        return responses.send_json(request, self._result_of(name))

    @app.route("/cancel/<name>", methods=["POST"])
    def _cancel(self, request: Request, name: str) -> bytes:
        if name not in self._results:
            return responses.send_json(request, {"error": "not found"}, 404)
        self.cancels.append(name)
        result = self._result_of(name)
        if result["status"] not in _FINAL:
            result["status"] = "cancelled"
            self.queue.delete(name)
            self.queue.interrupt(name)
        return responses.send_json(request, {"status": result["status"]})

    @app.route("/health", methods=["GET"])
    def _health(self, request: Request) -> bytes:
        return responses.send_json(request, {"status": "healthy"})

"""
A stand-in of ComfyUI's queue and execution: jobs wait, run one at a time on a clock, and leave a history.

It follows ComfyUI's execution.py (November 2026): the order of the queue, the fields of the history, the messages and
who gets them, the cache of an unchanged workflow, an interrupt that takes effect at the next step.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any, Final

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from vespa.simulator.comfyui_workflow import OUTPUTS, steps_of

HISTORY_MAX: Final = 10_000
_MS: Final = 1000.0

Send = Callable[[str, dict[str, Any], "str | None"], None]
"""`send(event, data, client_id)`: a message to one client, or to all if the id is None."""


@define(order=True)
class Queued:
    """A job that waits or runs, in the order of `number`."""

    number: float
    prompt_id: str
    prompt: dict[str, Any] = field(order=False)
    extra_data: dict[str, Any] = field(order=False)
    outputs: list[str] = field(order=False)

    def shown(self) -> list[Any]:
        """As ComfyUI's routes show it."""
        return [self.number, self.prompt_id, self.prompt, self.extra_data, self.outputs]


@define(eq=False, slots=False)
class ComfyUIQueue:
    """
    Runs one job after the other. Each step of a KSampler, and each other node, takes `step_seconds`.

    `send` gets the messages for WebSockets.
    """

    _clock: IReactorTime
    send: Send
    step_seconds: float = 0.05
    running: Queued | None = field(default=None, init=False)
    waiting: list[Queued] = field(factory=list, init=False)  # a heap
    history: dict[str, dict[str, Any]] = field(factory=dict, init=False)
    interrupts: int = field(default=0, init=False)
    """How often a running job was asked to end."""
    _interrupted: bool = field(default=False, init=False)
    _last: dict[str, Any] | None = field(default=None, init=False)
    """The last workflow that was executed: the same again needs no step."""
    _steps: list[tuple[str, int, int]] = field(factory=list, init=False)  # to do: node, number, of how many
    _node: str | None = field(default=None, init=False)  # the node that is being executed
    _messages: list[tuple[str, dict[str, Any]]] = field(factory=list, init=False)
    _call: IDelayedCall | None = field(default=None, init=False)

    @property
    def remaining(self) -> int:
        """The number of jobs that wait or run."""
        return len(self.waiting) + (self.running is not None)

    def put(self, job: Queued) -> None:
        heapq.heappush(self.waiting, job)
        self._updated()
        self._schedule(0.0)

    def delete(self, prompt_id: str) -> None:
        """Take the first waiting job with this id out."""
        for place, job in enumerate(self.waiting):
            if job.prompt_id == prompt_id:
                del self.waiting[place]
                heapq.heapify(self.waiting)
                self._updated()
                return

    def clear(self) -> None:
        self.waiting.clear()
        self._updated()

    def interrupt(self, prompt_id: str | None = None) -> None:
        """End the running job at its next step, if it has this id (None: whatever runs)."""
        if self.running is not None and prompt_id in (None, self.running.prompt_id):
            self._interrupted = True
            self.interrupts += 1

    def forget(self) -> None:
        """What a restart of ComfyUI does: no job is known any more."""
        self.waiting.clear()
        self.history.clear()
        self.running, self._last = None, None
        self._steps = []
        self.stop()

    def stop(self) -> None:
        """Execute nothing more."""
        if self._call is not None and self._call.active():
            self._call.cancel()
        self._call = None

    # -- execution

    def _schedule(self, seconds: float) -> None:
        if self._call is None:
            self._call = self._clock.callLater(seconds, self._step)

    def _step(self) -> None:
        self._call = None
        if self.running is None:
            if not self.waiting:
                return
            self._begin(heapq.heappop(self.waiting))
        elif self._interrupted:
            self._end("execution_interrupted", {"node_id": self._node, "executed": []})
        else:
            self._finish_step()
        if self.running is None:
            self._schedule(0.0)
        elif not self._steps:
            self._end("execution_success", {})
            self._schedule(0.0)
        else:
            self._schedule(self.step_seconds)

    def _begin(self, job: Queued) -> None:
        self.running, self._interrupted, self._messages, self._node = job, False, [], None
        self._updated()
        self._tell("execution_start", {})
        cached = job.prompt == self._last
        self._tell("execution_cached", {"nodes": list(job.prompt) if cached else []})
        self._steps = [] if cached else [step for name in job.prompt for step in steps_of(name, job.prompt[name])]
        self._enter()

    def _enter(self) -> None:
        """Say which node is executed, if it is another one."""
        assert self.running is not None
        if self._steps and self._steps[0][0] != self._node:
            self._node = self._steps[0][0]
            self._send("executing", {"node": self._node, "display_node": self._node})

    def _finish_step(self) -> None:
        assert self.running is not None
        name, number, most = self._steps.pop(0)
        node = self.running.prompt[name]
        if node["class_type"] == "Broken":
            what = {"exception_message": "this node is broken", "exception_type": "RuntimeError", "traceback": []}
            self._end("execution_error", {"node_id": name, "node_type": "Broken", "executed": [], **what})
            return
        if most > 1:
            self._send("progress", {"value": number, "max": most, "node": name})
        if number == most and node["class_type"] in OUTPUTS:
            self._send("executed", {"node": name, "display_node": name, "output": self._output(self.running)})
        self._enter()

    def _output(self, job: Queued) -> dict[str, Any]:
        return {"images": [{"filename": f"{job.prompt_id}.png", "subfolder": "", "type": "output"}]}

    def _end(self, event: str, data: dict[str, Any]) -> None:
        job, done = self.running, event == "execution_success"
        assert job is not None
        self._tell(event, data)
        if len(self.history) > HISTORY_MAX:
            del self.history[next(iter(self.history))]
        self.history[job.prompt_id] = {
            "prompt": job.shown(),
            "outputs": {name: self._output(job) for name in job.outputs} if done else {},
            "status": {"status_str": "success" if done else "error", "completed": done, "messages": self._messages},
            "meta": {},
        }
        self._last = job.prompt if done else None
        self.running, self._steps = None, []
        self._updated()
        self._send_for(job, "executing", {"node": None})

    def _tell(self, event: str, data: dict[str, Any]) -> None:
        """A message that the history keeps as well."""
        assert self.running is not None
        timed = {"prompt_id": self.running.prompt_id, **data, "timestamp": int(self._clock.seconds() * _MS)}
        self._messages.append((event, timed))
        self._send(event, timed)

    def _send(self, event: str, data: dict[str, Any]) -> None:
        assert self.running is not None
        self._send_for(self.running, event, data)

    def _send_for(self, job: Queued, event: str, data: dict[str, Any]) -> None:
        client_id = job.extra_data.get("client_id")
        if client_id is not None:  # a job without a client is executed in silence
            self.send(event, {**data, "prompt_id": job.prompt_id}, client_id)

    def _updated(self) -> None:
        self.send("status", {"status": self.info()}, None)

    def info(self) -> dict[str, Any]:
        """The length of the queue, as ComfyUI tells it."""
        return {"exec_info": {"queue_remaining": self.remaining}}

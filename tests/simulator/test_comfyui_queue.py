"""The stand-in's queue behaves as ComfyUI's: order, history, messages, cache, interrupts."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from vespa.simulator.comfyui_queue import ComfyUIQueue, Queued
from vespa.simulator.comfyui_workflow import workflow

STEPS = 8
"""Of a workflow whose KSampler has three."""


class QueueCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.sent: list[tuple[str, dict[str, Any], str | None]] = []
        self.queue = ComfyUIQueue(self.clock, lambda *message: self.sent.append(message), 1.0)
        self.addCleanup(self.queue.stop)

    def put(self, prompt_id: str, number: float = 0.0, *, steps: int = 3, **more: Any) -> None:
        prompt = workflow(steps, seed=hash(prompt_id), **more)
        self.queue.put(Queued(number, prompt_id, prompt, {"client_id": "me"}, ["9"]))

    def run_for(self, steps: int) -> None:
        self.clock.pump([0.0] + [1.0] * steps)

    def status(self, prompt_id: str) -> tuple[str, bool]:
        status = self.queue.history[prompt_id]["status"]
        return status["status_str"], status["completed"]


class Execution(QueueCase):
    def test_one_at_a_time(self) -> None:
        """Jobs run in the order of their numbers, each until its last step, and are in the history then."""
        self.put("a", 1)
        self.clock.advance(0)
        self.put("c", 3)
        self.put("b", 2)
        running = self.queue.running
        assert running is not None
        self.assertEqual((running.prompt_id, self.queue.remaining, self.queue.history), ("a", 3, {}))
        self.run_for(STEPS)
        self.clock.advance(0)
        running = self.queue.running
        assert running is not None
        self.assertEqual((running.prompt_id, list(self.queue.history)), ("b", ["a"]))
        self.run_for(2 * STEPS)
        self.assertEqual((list(self.queue.history), self.queue.remaining), (["a", "b", "c"], 0))
        self.assertEqual(self.status("c"), ("success", True))
        self.assertEqual(
            self.queue.history["c"]["outputs"]["9"]["images"][0],
            {"filename": "c.png", "subfolder": "", "type": "output"},
        )

    def test_messages(self) -> None:
        """The client of a job gets its messages, everyone the length of the queue."""
        self.put("a", steps=2)
        self.run_for(STEPS)
        own = [(event, data.get("node", "")) for event, data, client in self.sent if client == "me"]
        self.assertEqual(own[:3], [("execution_start", ""), ("execution_cached", ""), ("executing", "4")])
        self.assertEqual([event for event, _ in own].count("progress"), 2)
        self.assertEqual(own[-3:], [("executed", "9"), ("execution_success", ""), ("executing", None)])
        self.assertTrue(all(data["prompt_id"] == "a" for _, data, client in self.sent if client == "me"))
        left = [data["status"]["exec_info"]["queue_remaining"] for _, data, client in self.sent if client is None]
        self.assertEqual(left, [1, 1, 0])

    def test_cached(self) -> None:
        """The same workflow again is done at once."""
        self.put("a")
        self.run_for(STEPS)
        self.queue.put(Queued(1, "b", self.queue.history["a"]["prompt"][2], {}, ["9"]))
        self.clock.advance(0)
        self.assertEqual(self.status("b"), ("success", True))

    def test_error(self) -> None:
        """A node that fails ends the job: its status is an error, and the next job runs."""
        self.put("a", broken=True)
        self.put("b", 1)
        self.run_for(2 * STEPS + 2)
        self.assertEqual((self.status("a"), self.status("b")), (("error", False), ("success", True)))
        self.assertEqual(self.queue.history["a"]["status"]["messages"][-1][0], "execution_error")

    def test_interrupt(self) -> None:
        """The running job ends at its next step, and only it."""
        self.put("a")
        self.put("b", 1)
        self.clock.advance(0)
        self.queue.interrupt("b")
        self.run_for(1)
        self.assertEqual((self.queue.history, self.queue.interrupts), ({}, 0))
        self.queue.interrupt("a")
        self.run_for(1)
        self.assertEqual(self.status("a"), ("error", False))
        self.assertEqual(self.queue.history["a"]["status"]["messages"][-1][0], "execution_interrupted")
        self.run_for(STEPS)
        self.assertEqual(self.status("b"), ("success", True), "the interrupt does not last")

    def test_delete(self) -> None:
        """A waiting job leaves no trace; one that runs is not touched."""
        for number, prompt_id in enumerate("abc"):
            self.put(prompt_id, number)
        self.clock.advance(0)
        self.queue.delete("b")
        self.queue.delete("a")
        self.run_for(3 * STEPS)
        self.assertEqual(list(self.queue.history), ["a", "c"])

    def test_forget(self) -> None:
        """After a restart nothing is known, and new jobs run."""
        self.put("a")
        self.run_for(2)
        self.queue.forget()
        self.put("b")
        self.run_for(STEPS + 1)
        self.assertEqual(list(self.queue.history), ["b"])

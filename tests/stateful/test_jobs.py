"""Jobs, their polls and hang-ups in any order: the books balance, and every slot comes back."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.rig import Rig, Wire, post
from tests.seeds import examples
from tests.simulator_support.comfyui import ComfyUIBackend
from tests.worker.requests import auth, envelope
from vespa.engines.comfyui import ComfyUI
from vespa.engines.interface import NoResponse
from vespa.simulator.comfyui_workflow import workflow
from vespa.simulator.signing import query_envelope
from vespa.worker.engine.aborts import Aborts
from vespa.worker.engine.job_polls import JobPolls
from vespa.worker.engine.job_watcher import JobWatcher

SLOTS = 2
TIMES = (0.0, 0.1, 0.5, 2.0, 9.0, 40.0, 700.0)
STEPS = (1, 5, 60, 1000)


class Storm:
    """A worker with two slots before ComfyUI, moved by numbers."""

    def __init__(self, case: SynchronousTestCase) -> None:
        clock = Rig().clock
        self.comfyui = ComfyUIBackend(case, clock)
        watcher = self.watcher = JobWatcher(ComfyUI(), lambda exchange: self.comfyui, clock, 600.0, 1.0, 10.0)
        self.polls = JobPolls(ComfyUI(), clock, 60.0)
        watcher.began, watcher.ended = self.polls.began, self.polls.ended
        self.aborts = Aborts(ComfyUI(), lambda exchange: self.comfyui, clock, 10.0)
        self.rig = Rig(
            secured=True,
            replay="reject",
            concurrency=SLOTS,
            max_queue=3,
            queue_seconds=30.0,
            clock=clock,
            engine=self.aborts,
            response_reader=watcher.reader,
            polls=self.polls,
        )
        self.aborts.freed = self.rig.app.admission.engine_stopped
        self.clients: list[Wire] = []
        self.asked: dict[Wire, bytes] = {}
        self.idx = 0

    def act(self, number: int) -> None:
        what, which = number % 11, number // 11
        if what <= 1:
            self.idx += 1
            path = b"/prompt" if which % 4 else b"/other"
            self._send(post(envelope(b'{"prompt": {}}', request_idx=self.idx), path))
        elif what == 2 and self.idx:
            signed = query_envelope(auth(request_idx=1 + which % self.idx))
            self._send(f"GET /queue?{signed} HTTP/1.1\r\nHost: w\r\n\r\n".encode())
        elif what <= 5 and self.asked:
            self._answer([*self.asked][which % len(self.asked)], which)
        elif what == 6 and self.asked:
            [*self.asked][which % len(self.asked)].hang_up()
        elif what == 7 and self.clients:
            self.clients.pop(which % len(self.clients)).hang_up()
        elif what == 8:
            self._disturb(which)
        elif what >= 9:
            self.pass_time(TIMES[which % len(TIMES)])
        self._look()

    def _send(self, request: bytes) -> None:
        self.clients.append(self.rig.ask(request))

    def _look(self) -> None:
        """See which requests are at the backend, and which connections are gone."""
        for wire in self.rig.backend.wires:
            if wire.open:
                if data := wire.read():
                    self.asked[wire] = data
            else:
                self.asked.pop(wire, None)
        self.clients = [client for client in self.clients if client.open]

    def _answer(self, wire: Wire, which: int) -> None:
        request = self.asked.pop(wire)
        caller, status = self.comfyui.caller, 200
        if request.startswith(b"POST /prompt"):
            prompt = workflow(STEPS[which % len(STEPS)], seed=which, broken=which % 7 == 0)
            response = caller.post_json("/prompt", {"prompt": prompt} if which % 5 else {})
            status, content = response.status, response.body
        else:
            content = caller.ask("GET", "/queue").body
        wire.send(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%b" % (status, len(content), content))

    def _disturb(self, which: int) -> None:
        queue = self.comfyui.comfyui.queue
        if which % 4 == 0:
            queue.interrupt()
        elif which % 4 == 1:
            queue.forget()
        elif which % 4 == 2:
            queue.clear()
        else:
            self.comfyui.dead = None if self.comfyui.dead else NoResponse("no", refused=which % 8 < 4)

    def pass_time(self, seconds: float) -> None:
        while seconds > 0.0:
            self.rig.clock.advance(min(seconds, 0.5))
            seconds -= 0.5
        self.rig.clock.advance(0)

    def end(self) -> None:
        """Every caller leaves, and everything comes to its end."""
        self.comfyui.dead = None
        for client in self.clients:
            if client.open:
                client.hang_up()
        self.pass_time(700.0)
        self._look()


class JobStorm(SynchronousTestCase):
    @settings(max_examples=examples(150))
    @given(st.lists(st.integers(0, 11 * 280), max_size=60))
    def test_laws(self, numbers: list[int]) -> None:
        """
        The accounts balance at any time, and no more than the slots are taken.

        In the end nothing is in flight, nothing is followed, and each assignment was told once.
        """
        storm = Storm(self)
        rig = storm.rig
        for number in numbers:
            storm.act(number)
            self.assertTrue(rig.balanced())
            self.assertLessEqual(rig.gate.working, SLOTS)
            self.assertGreaterEqual(rig.ledger.load, 0)
            self.assertLessEqual(storm.watcher.in_flight + storm.aborts.under_way, rig.gate.working)
        storm.end()
        self.assertTrue(rig.settled(), (rig.ledger.in_flight, rig.ledger.load, rig.gate.working))
        self.assertEqual((storm.watcher.in_flight, storm.aborts.under_way, rig.gate.waiting), (0, 0, 0))
        told: Counter[Any] = Counter(each.request_idx for each in rig.ledger.deletes())
        self.assertLessEqual(set(told.values()), {1})
        self.assertLessEqual(set(told), set(range(1, storm.idx + 1)))

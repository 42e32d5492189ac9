"""Which requests are polls, for how long, and how many."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from vespa.engines.comfyui import ComfyUI
from vespa.protocol.refusal import Refusal
from vespa.vast.auth import Auth
from vespa.worker.engine.job_polls import AT_ONCE, BURST, RATE, JobPolls, Polls


class FakeExchange:
    backend = None

    def __init__(self, index: int) -> None:
        self.content = Auth(1.0, 1, "e", index, index, "s", "u", b"1")


class FakeHead:
    method, target, upgrade = b"GET", b"/queue", b""
    chunked = has_body = False


class PollTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.polls = JobPolls(ComfyUI(), self.clock, 60.0, most=3)
        self.exchanges: list[Any] = [FakeExchange(index) for index in range(5)]
        self.head: Any = FakeHead()

    def find(self, exchange: Any) -> Polls | None:
        return self.polls.find(self.head, exchange.content)

    def known(self) -> list[bool]:
        return [self.find(exchange) is not None for exchange in self.exchanges]

    def test_forgotten(self) -> None:
        """The number of jobs whose polls are known has a limit; those that have ended are forgotten first."""
        for exchange in self.exchanges[:3]:
            self.polls.began(exchange)
        self.polls.ended(self.exchanges[1])
        self.polls.began(self.exchanges[3])
        self.assertEqual(self.known(), [True, False, True, True, False])
        self.polls.began(self.exchanges[4])
        self.assertEqual(self.known(), [False, False, True, True, True])
        for exchange in self.exchanges:
            self.polls.ended(exchange)
        self.clock.advance(59.9)
        self.assertEqual(self.known(), [False, False, True, True, True])
        self.clock.advance(0.1)
        self.assertEqual(self.known(), [False] * 5)

    def test_two_jobs(self) -> None:
        """Jobs of one assignment, as in a session, share their polls until the last has ended."""
        again: Any = FakeExchange(0)
        self.polls.began(self.exchanges[0])
        self.polls.began(again)
        self.polls.ended(self.exchanges[0])
        self.clock.advance(100)
        polls = self.find(again)
        self.assertIsNotNone(polls)
        self.polls.ended(again)
        self.polls.ended(again)
        self.clock.advance(59)
        self.assertIs(self.find(again), polls)
        self.polls.began(again)
        self.clock.advance(100)
        self.assertIs(self.find(again), polls, "a new job in the meantime")

    def test_rate(self) -> None:
        """So many at once, so many a second, and so many at the backend."""
        self.polls.began(self.exchanges[0])
        polls = self.find(self.exchanges[0])
        assert polls is not None
        for _ in range(AT_ONCE):
            self.polls.begin(polls)
        self.assertRaises(Refusal, self.polls.begin, polls)
        for _ in range(BURST - AT_ONCE):
            polls.in_flight = 0
            self.polls.begin(polls)
        polls.in_flight = 0
        self.assertRaises(Refusal, self.polls.begin, polls)
        self.clock.advance(1 / RATE + 0.001)
        self.polls.begin(polls)
        self.assertRaises(Refusal, self.polls.begin, polls)
        self.clock.advance(1e9)
        for _ in range(BURST):
            polls.in_flight = 0
            self.polls.begin(polls)
        self.assertRaises(Refusal, self.polls.begin, polls)
        self.assertEqual(self.polls.count, 2 * BURST + 1)

    def test_clock_set_back(self) -> None:
        """A clock that is set back takes no polls away."""
        self.clock.advance(10_000)
        self.polls.began(self.exchanges[0])
        polls = self.find(self.exchanges[0])
        assert polls is not None
        self.clock.rightNow -= 5_000
        for _ in range(BURST):
            polls.in_flight = 0
            self.polls.begin(polls)
        self.clock.advance(1)
        self.polls.begin(polls)

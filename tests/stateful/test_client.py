"""The client under many requests in any order: each caller gets its own response, and nothing is left over."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.seeds import examples
from tests.stateful import endings
from tests.stateful.callers import KINDS, ask
from tests.stateful.client_harness import Config
from tests.stateful.laws import check_callers, check_over, check_workers
from tests.stateful.stateful_machine import ClientStateMachine

EXAMPLES = 350
# The more often a name stands here, the more often it is done.
STEPS = (
    *("time", "time", "time", "call", "call", "send", "send", "send", "accept", "accept", "accept"),
    *("assign", "assign", "assign", "assign", "tell", "tell", "answer", "answer", "answer", "answer"),
    *("push", "push", "push", "die", "die", "interim", "refuse", "squeeze", "squeeze", "drain", "drain"),
    *("leave", "leave", "chatter", "say", "lookup", "lookup", "shut"),
)

numbers = st.integers(0, 8191)
asks = st.tuples(st.sampled_from(KINDS), st.integers(0, 7), st.integers(0, 2))
parties = st.lists(st.tuples(st.lists(asks, min_size=1, max_size=3), st.booleans()), min_size=2, max_size=5)
steps = st.lists(st.tuples(st.sampled_from(STEPS), numbers, numbers), min_size=30, max_size=120)
configs = st.builds(
    Config,
    later=st.booleans(),
    pings=st.booleans(),
    official=st.sampled_from((*(False,) * 15, True)),
    looked_up=st.sampled_from((False, False, False, True)),
    turns=st.sampled_from((0, 1, 2)),
    connections=st.sampled_from((0, 0, 1, 2)),
    attempts=st.sampled_from((3, 1, 2, 5)),
    seconds=st.sampled_from((0.0, 20.0, 60.0, 3.0)),
    first_byte=st.sampled_from((0.0, 5.0)),
    replay_bytes=st.sampled_from((1 << 20, 0, 1000, 100_000)),
    ending=st.sampled_from(("finish", "finish", "finish", "abandon", "silence")),
)


class ClientTests(SynchronousTestCase):
    def run_steps(self, config: Config, meant: Any, steps: Any) -> None:
        """One run, from its first step to its end."""
        costs = iter(range(1, 1000))
        machine = ClientStateMachine(
            config, [([ask(next(costs), *each) for each in some], ahead) for some, ahead in meant]
        )
        for name, a, b in steps:
            machine.step(name, a, b)
        getattr(endings, config.ending)(machine)
        check_callers(machine)
        check_workers(machine)
        endings.leave(machine)
        check_callers(machine)
        check_workers(machine)
        check_over(machine)
        self.assertEqual(self.flushLoggedErrors(), [])

    @settings(max_examples=examples(EXAMPLES))
    @given(configs, parties, steps)
    def test_any_order(self, config: Config, meant: Any, steps: Any) -> None:
        """Whatever callers, autoscaler and workers do, in whatever order."""
        self.run_steps(config, meant, steps)

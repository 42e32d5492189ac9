"""The worker under events in any order: nothing is called on an ended exchange, and nothing is left over."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.seeds import examples
from tests.stateful.worker_machine import Config, WorkerMachine
from vespa.http.limits import Limits
from vespa.proxy.upstream_deadlines import Timeouts

EXAMPLES = 300
# The more often a name stands here, the more often it is done.
STEPS = (
    *("come", "come", "come", "send", "send", "send", "send", "accept", "accept", "accept", "time", "time", "time"),
    *("respond", "respond", "respond", "respond", "respond", "respond", "close", "close", "leave", "leave", "refuse"),
    *("work_end", "work_end", "measure", "measure", "measure_late", "stop", "health", "health"),
    *("squeeze", "squeeze", "drain", "drain", "chatter", "cut", "dismiss", "unready", "distrust"),
)
numbers = st.integers(0, 8191)
steps = st.lists(st.tuples(st.sampled_from(STEPS), numbers, numbers), min_size=30, max_size=150)
configs = st.builds(
    Config,
    secured=st.booleans(),
    later=st.booleans(),
    queue_pings=st.booleans(),
    server_timing=st.booleans(),
    stream_errors=st.booleans(),
    reads=st.booleans(),
    engine=st.booleans(),
    backends=st.sampled_from((1, 1, 2, 3)),
    sessions=st.sampled_from((0, 1, 3)),
    affinity=st.booleans(),
    turn_end=st.booleans(),
    at_once=st.booleans(),
    concurrency=st.sampled_from((0, 1, 2)),
    max_queue=st.sampled_from((1000, 1)),
    connections=st.sampled_from((0, 0, 1, 2)),
    idle_seconds=st.sampled_from((2.0, 0.0, 60.0)),
    timeouts=st.sampled_from((None, None, Timeouts(first_byte=2.0, idle=2.0, total=20.0), Timeouts(first_token=2.0))),
    limits=st.sampled_from(
        (None, None, Limits(held_bytes=60_000, unverified_bytes=30_000, pipeline_bytes=500, connections=3))
    ),
)


class ExchangeTests(SynchronousTestCase):
    @settings(max_examples=examples(EXAMPLES))
    @given(configs, steps)
    def test_any_order(self, config: Config, steps: Any) -> None:
        """Books, slots, memory and timers are right after each step, and empty at the end."""
        machine = WorkerMachine(config)
        for name, a, b in steps:
            machine.step(name, a, b)
            machine.check()
        machine.end()
        machine.check_end()
        self.assertEqual(self.flushLoggedErrors(), [])

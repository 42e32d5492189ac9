"""The gate to several backends under events in any order."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.seeds import examples
from tests.stateful.backend_queue_machine import BackendQueueMachine

STEPS = (
    *("admit",) * 6,
    *("free",) * 4,
    *("health",) * 2,
    *("measured",) * 2,
    *("charge", "charge", "lower", "lower", "move", "move", "upgrade", "dismiss"),
)
"""The more often a name stands here, the more often it is done."""
numbers = st.integers(0, 8191)
steps = st.lists(st.tuples(st.sampled_from(STEPS), numbers, numbers), min_size=30, max_size=120)
machines = st.builds(
    BackendQueueMachine,
    st.integers(1, 4),
    st.sampled_from((1, 1, 2, 3, 0)),
    st.sampled_from((1000, 2)),
    st.booleans(),
)


class BackendQueueTests(SynchronousTestCase):
    @settings(max_examples=examples(400))
    @given(machines, steps)
    def test_any_order(self, machine: BackendQueueMachine, steps: Any) -> None:
        """
        No backend has more requests than slots, each free slot goes to the first who may have it, nobody waits beside a
        free slot, nobody is lost or told twice, the work of each backend is that of its requests, a request goes where
        that is done soonest, and in the end everyone had a slot.
        """
        for name, a, b in steps:
            machine.step(name, a, b)
        machine.end()

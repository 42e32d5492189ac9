"""Tests of `vespa.runtime.state_changes`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from vespa.runtime.state_changes import KEPT, REASON_MAX, StateChange, StateChanges


class StateChangesTests(SynchronousTestCase):
    def test_order(self) -> None:
        """Each change has the time of its begin and its reason, the oldest first."""
        changes = StateChanges()
        self.assertIsNone(changes.newest)
        changes.enter(1.0, "loading")
        changes.enter(2.0, "errored", "it is gone")
        self.assertEqual(changes.all(), [StateChange(1.0, "loading"), StateChange(2.0, "errored", "it is gone")])
        self.assertEqual(changes.newest, StateChange(2.0, "errored", "it is gone"))

    def test_same_state(self) -> None:
        """A state that goes on keeps its begin, and gets the newer reason."""
        changes = StateChanges()
        changes.enter(1.0, "errored", "one")
        changes.enter(2.0, "errored", "two")
        self.assertEqual(changes.all(), [StateChange(1.0, "errored", "two")])

    def test_explained_later(self) -> None:
        """A cause that is found while the state lasts belongs to it."""
        changes = StateChanges()
        changes.explain("nothing is there to explain")
        self.assertEqual(changes.all(), [])
        changes.enter(1.0, "loading")
        changes.explain("no server listens")
        self.assertEqual(changes.all(), [StateChange(1.0, "loading", "no server listens")])

    def test_bounds(self) -> None:
        """The oldest changes go, and a long reason is cut."""
        changes = StateChanges()
        for at in range(KEPT + 5):
            changes.enter(float(at), ("ready", "suspect")[at % 2], "x" * (REASON_MAX + 1))
        changes.explain("y" * (REASON_MAX + 1))
        kept = changes.all()
        self.assertEqual((len(kept), kept[0].at), (KEPT, 5.0))
        self.assertEqual({len(change.reason) for change in kept}, {REASON_MAX})

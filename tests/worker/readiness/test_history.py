"""Tests of `vespa.worker.readiness.history`. What the monitor writes there: `tests.worker.readiness.test_monitor`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from vespa.runtime.state_changes import StateChange
from vespa.worker.readiness.history import PROGRESS_LINES, ProbeResult, ReadinessHistory


class ReadinessHistoryTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.history = ReadinessHistory()

    def test_reasons(self) -> None:
        """A message is the reason; without one the probe's trouble is, except of a ready backend."""
        for at, (state, message) in enumerate((("loading", ""), ("errored", "why"), ("ready", ""), ("suspect", ""))):
            self.history.entered(float(at), state, message, "trouble")
        reasons = [change.reason for change in self.history.changes.all()]
        self.assertEqual(reasons, ["trouble", "why", "", "trouble"])

    def test_explained(self) -> None:
        """A trouble explains a state that waits for the backend, and no other."""
        self.history.explained("before the start")
        for at, state in enumerate(("loading", "benchmarking", "ready", "suspect", "errored")):
            self.history.entered(float(at), state, "", "")
            self.history.explained("trouble")
        reasons = [change.reason for change in self.history.changes.all()]
        self.assertEqual(reasons, ["trouble", "", "", "trouble", ""])
        self.assertEqual(self.history.changes.newest, StateChange(4.0, "errored"))

    def test_probe(self) -> None:
        """The last probe has the time of its end, and how long it took."""
        self.history.probed(10.0, 12.5, "slow")
        self.assertEqual(self.history.last_probe, ProbeResult(12.5, 2.5, "slow"))

    def test_progress(self) -> None:
        """The last lines are kept, and a benchmark begins without those of the one before."""
        self.history.progress.extend(str(number) for number in range(2 * PROGRESS_LINES))
        self.assertEqual(len(self.history.progress), PROGRESS_LINES)
        self.history.entered(1.0, "benchmarking", "", "")
        self.assertEqual(len(self.history.progress), 0)

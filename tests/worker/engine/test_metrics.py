"""Jobs and stopped work are counted from 0 where they are on, and have no samples where they are off."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.observability.metered import samples
from tests.worker.engine.test_job_watcher import STEPS, WatcherCase
from vespa.engines.comfyui import ComfyUI
from vespa.observability.metric import Reading
from vespa.observability.metrics import Metrics
from vespa.worker.engine.aborts import Aborts
from vespa.worker.engine.job_polls import JobPolls
from vespa.worker.engine.metrics import engine_readings


def engine_samples(readings: list[Reading]) -> dict[str, float]:
    """The samples of these metrics, without those of the process."""
    found = samples(Metrics(readings, lambda: None))
    return {name: value for name, value in found.items() if name.startswith("vespa_")}


class OffTests(SynchronousTestCase):
    def test_off(self) -> None:
        """There are no samples."""
        self.assertEqual(engine_samples(engine_readings(None, None, None)), {})


class OnTests(WatcherCase):
    def test_from_the_start(self) -> None:
        """All are 0."""
        polls = JobPolls(ComfyUI(), self.clock, 60.0)
        aborts = Aborts(ComfyUI(), lambda exchange: self.backend, self.clock, 10.0)
        now = engine_samples(engine_readings(aborts, self.watcher, polls))
        self.assertEqual(list(now.values()), [0.0] * (1 + 5 + 1 + 4))
        self.assertEqual({name.partition("{")[0].split("_")[1] for name in now}, {"jobs", "job", "aborts"})

    def test_counted(self) -> None:
        """A job, a poll and an attempt each are counted by their result."""
        polls = JobPolls(ComfyUI(), self.clock, 60.0)
        aborts = Aborts(ComfyUI(), lambda exchange: self.backend, self.clock, 10.0)
        metrics = Metrics(engine_readings(aborts, self.watcher, polls), lambda: None)
        self.begin()
        self.assertEqual(samples(metrics)["vespa_jobs_in_flight"], 1)
        self.pass_time(STEPS + 2)
        aborts.results["timeout"] += 2
        polls.count += 3
        now = samples(metrics)
        self.assertEqual((now["vespa_jobs_in_flight"], now['vespa_jobs_total{result="done"}']), (0, 1))
        self.assertEqual(now['vespa_aborts_total{result="timeout"}'], 2)
        self.assertEqual(now["vespa_job_polls_total"], 3)

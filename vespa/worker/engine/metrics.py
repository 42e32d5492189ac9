"""The metrics of jobs and of stopped work."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from vespa.observability.metric import Reading, counter, gauge
from vespa.worker.engine.aborts import RESULTS as ABORT_RESULTS
from vespa.worker.engine.aborts import Aborts
from vespa.worker.engine.job_polls import JobPolls
from vespa.worker.engine.job_watcher import RESULTS as JOB_RESULTS
from vespa.worker.engine.job_watcher import JobWatcher

IN_FLIGHT: Final = gauge("vespa_jobs_in_flight", "Jobs that outlive their request and are under way.")
ENDED: Final = counter(
    "vespa_jobs_total",
    "Jobs that have ended: with a result (done), without one (error), lost, after too long (timeout), with the worker.",
    "result",
)
POLLS: Final = counter("vespa_job_polls_total", "Free requests for the state or result of a job.")
ABORTS: Final = counter(
    "vespa_aborts_total",
    "Attempts to stop the engine for callers that left: stopped, failed, timeout, or skipped as there were too many.",
    "result",
)


def engine_readings(aborts: Aborts | None, jobs: JobWatcher | None, polls: JobPolls | None) -> list[Reading]:
    """The metrics, read from these parts. What is off (None) has no samples."""
    return [
        Reading(IN_FLIGHT, lambda: jobs.in_flight if jobs is not None else None),
        Reading(ENDED, _by_result(JOB_RESULTS, jobs.results if jobs is not None else None)),
        Reading(POLLS, lambda: polls.count if polls is not None else None),
        Reading(ABORTS, _by_result(ABORT_RESULTS, aborts.results if aborts is not None else None)),
    ]


def _by_result(names: tuple[str, ...], counts: Mapping[str, int] | None) -> Callable[[], Mapping[str, float]]:
    return lambda: {name: counts.get(name, 0) for name in names} if counts is not None else {}

"""The parts of a worker that know its engine's own interface, made from the settings."""

from __future__ import annotations

from typing import Any, Final

from attrs import define, field, frozen
from twisted.application.service import IService, Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from vespa.config.worker import WorkerSettings
from vespa.engines.choice import job_kind, stopper
from vespa.proxy.exchange import Exchange
from vespa.worker.app import WorkerApp
from vespa.worker.backend_calls import BackendCalls
from vespa.worker.backends.setup import BackendParts
from vespa.worker.engine.aborts import Aborts
from vespa.worker.engine.job_polls import JobPolls
from vespa.worker.engine.job_watcher import JobWatcher
from vespa.worker.response_readers import ReaderOf

STOP_SECONDS: Final = 1.0
"""The least time for attempts to stop the engine. When the time for requests is over, those that are cut begin some."""


@define(eq=False, slots=False)
class EngineDrain(Service):
    """
    Waits for jobs when the worker stops, after the port has closed and before the last report.

    `seconds` count from `begin`.
    """

    _jobs: JobWatcher | None
    _aborts: Aborts | None
    _clock: IReactorTime
    _seconds: float
    _began_at: float | None = field(default=None, init=False)

    def begin(self) -> None:
        """The worker begins to stop."""
        self._began_at = self._clock.seconds()

    def stopService(self) -> Deferred[None]:
        """Fires when all jobs and attempts have ended, or were cut off because the time was over. Does not fail."""
        super().stopService()  # type: ignore[no-untyped-call]
        if self._began_at is None:
            self._began_at = self._clock.seconds()
        return Deferred.fromCoroutine(self._stop(self._began_at + self._seconds))

    async def _stop(self, deadline: float) -> None:
        if self._jobs is not None:
            await self._jobs.drained(max(0.0, deadline - self._clock.seconds()))
        if self._aborts is not None:
            await self._aborts.drained(max(STOP_SECONDS, deadline - self._clock.seconds()))


@frozen
class EngineParts:
    """A worker's parts for its engine. `aborts`, `jobs` and `polls` are None if their setting is off."""

    aborts: Aborts | None
    jobs: JobWatcher | None
    polls: JobPolls | None
    drain: EngineDrain

    @property
    def reader(self) -> ReaderOf | None:
        """What reads responses that may begin a job."""
        return self.jobs.reader if self.jobs is not None else None

    def connect(self, app: WorkerApp) -> list[IService]:
        """Let them act on this application. Returns the services: to be stopped after the port, before the reporter."""
        if self.aborts is not None:
            self.aborts.freed = app.admission.engine_stopped
        if self.jobs is not None and self.polls is not None:
            self.jobs.began, self.jobs.ended = self.polls.began, self.polls.ended
            self.jobs.cancelled = self.polls.is_cancelled
        if self.aborts is None and self.jobs is None:
            return []
        app.on_drain.append(self.drain.begin)
        return [self.drain]


def engine_parts(reactor: Any, settings: WorkerSettings, backend: BackendParts) -> EngineParts:
    """The parts that the settings name. Raises ValueError for a function that cannot be used."""
    calls = {each: BackendCalls(access.http, access.base) for each, access in backend.accesses.items()}

    def backend_of(exchange: Exchange) -> BackendCalls:
        return calls[exchange.backend]

    aborts: Aborts | None = None
    jobs: JobWatcher | None = None
    polls: JobPolls | None = None
    if settings.abort:
        aborts = Aborts(stopper(settings.abort), backend_of, reactor, settings.abort_timeout)
    if settings.jobs:
        kind = job_kind(settings.jobs)
        jobs = JobWatcher(
            kind,
            backend_of,
            reactor,
            settings.job_timeout,
            settings.job_poll_interval,
            settings.abort_timeout if settings.abort == settings.jobs else 0.0,
        )
        polls = JobPolls(kind, reactor, settings.job_result_time)
    return EngineParts(aborts, jobs, polls, EngineDrain(jobs, aborts, reactor, settings.drain_timeout))

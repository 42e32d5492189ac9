"""
Follows jobs that outlive the request which began them, until the backend has done them.

It asks the backend again and again. ComfyUI's WebSocket would say the same sooner, but it sends the messages of a job
only to the client that the caller named in it, and a second connection under that name would take them from the caller.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Final

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred, DeferredSemaphore
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from vespa.engines.interface import (
    BackendClient,
    EngineRequest,
    EngineResponse,
    Job,
    JobKind,
    JobState,
    NoResponse,
    UnexpectedResponse,
)
from vespa.engines.paths import decoded_path
from vespa.protocol.refusal import Refusal
from vespa.protocol.response_head import ResponseHead
from vespa.proxy.app import draining
from vespa.proxy.body_reader import READ_MAX, BodyReader
from vespa.proxy.exchange import Exchange
from vespa.proxy.interfaces import ResponseReader
from vespa.runtime.deadlines import sleep, within
from vespa.runtime.ratelimited_log import RateLimitedLog
from vespa.worker.backend_calls import BackendOf

RESULTS: Final = ("done", "error", "lost", "timeout", "stopped")
"""
How a job ends: with a result, without one, the backend lost it or is dead, it took too long, the worker stopped first.
"""
MOST: Final = 1000
"""Jobs that are followed at the same time. Another one counts as done when its response is."""
FIRST_CHECK: Final = 0.2  # seconds until the first check: a cached result is there at once
SLOWER: Final = 1.5  # each check is so much later than the one before, up to the interval
CHECKS_AT_ONCE: Final = 4  # with more jobs, the time between two checks of one grows
DEAD_SECONDS: Final = 60.0
"""A backend that answers nothing for so long has lost its jobs. It may be silent while it loads a model."""
REFUSALS: Final = 2  # refused connections, or unknown jobs, in a row: then the process that had the job has ended


@define(eq=False, slots=False)
class Watched:
    """A job that is being followed."""

    exchange: Exchange
    job: Job
    backend: BackendClient
    began_at: float
    task: Deferred[None] | None = None


@define(eq=False, slots=False)
class JobWatcher:
    """
    Keeps the account of a request open while its job is under way.

    `backend_of` finds the backend of a request. `seconds` limits a job. `interval` is the time between two checks of
    one. `stop_seconds`: a job that took too long is stopped in the engine, within so many seconds; 0: it is not.
    `began` and `ended` are called for each job. `cancelled` says whether the caller of a job has cancelled it.
    """

    log = Logger(namespace="vespa.worker")

    kind: JobKind
    _backend_of: BackendOf
    _clock: IReactorTime
    seconds: float
    interval: float
    stop_seconds: float = 0.0
    began: Callable[[Exchange], object] = field(default=lambda exchange: None, init=False)
    ended: Callable[[Exchange], object] = field(default=lambda exchange: None, init=False)
    cancelled: Callable[[Exchange], bool] = field(default=lambda exchange: False, init=False)
    results: Counter[str] = field(factory=Counter, init=False)
    """The number of jobs by result."""
    _jobs: dict[Exchange, Watched] = field(factory=dict, init=False)
    _waiting: list[Deferred[None]] = field(factory=list, init=False)

    def __attrs_post_init__(self) -> None:
        self._warnings = RateLimitedLog(self.log, self._clock)
        self._turns = DeferredSemaphore(CHECKS_AT_ONCE)

    @property
    def in_flight(self) -> int:
        """The number of jobs that are under way."""
        return len(self._jobs)

    @property
    def oldest(self) -> float | None:
        """When the oldest of them began, in epoch seconds."""
        return min((each.began_at for each in self._jobs.values()), default=None)

    def reader(self, exchange: Exchange, head: ResponseHead, length: int) -> ResponseReader | None:
        """What reads a response that may begin a job."""
        method, path = exchange.head.method.decode("ascii"), decoded_path(exchange.head.target)
        if head.status >= 300 or not self.kind.may_begin(method, path):
            return None
        if length > READ_MAX and not self.kind.reads_beginning:
            return None
        request, chunked = EngineRequest(method, path), not exchange.content_only

        def ended(body: bytes, whole: bool) -> bool:
            return self._begins(exchange, request, EngineResponse(head.status, body, whole))

        return BodyReader(head, ended, chunked=chunked)

    def _begins(self, exchange: Exchange, request: EngineRequest, response: EngineResponse) -> bool:
        if not response.whole and not self.kind.reads_beginning:
            return False
        try:
            job = self.kind.job(request, response)
        except (Exception, SystemExit):
            # It may be a user's function, which may call sys.exit().
            self.log.failure("a response could not be examined for a job")
            return False
        if job is None:
            return False
        if len(self._jobs) >= MOST:
            self._warnings.log("most", f"a job is not followed: {MOST} are under way")
            return False
        watched = self._jobs[exchange] = Watched(exchange, job, self._backend_of(exchange), self._clock.seconds())
        watched.task = Deferred.fromCoroutine(self._follow(watched))
        self.began(exchange)
        return True

    async def _follow(self, watched: Watched) -> None:
        try:
            result, why = await self._result(watched)
        except CancelledError:
            result, why = "stopped", ""
        except Exception:
            self.log.failure("following a job failed")
            result, why = "lost", "Vespa failed to follow it: see its log"
        del self._jobs[watched.exchange]
        self.results[result] += 1
        failure = _refusal(result, why)
        if result == "error":
            # As a backend's response with an error: its request is complete, and no work was served.
            watched.exchange.work_ended(served=False)
        else:
            if failure is not None and result != "stopped":
                self._warnings.log(result, f"jobs fail: {failure}")
            watched.exchange.work_ended(failure)
        self.ended(watched.exchange)
        if not self._jobs:
            waiting, self._waiting = self._waiting, []
            for each in waiting:
                each.callback(None)

    async def _result(self, watched: Watched) -> tuple[str, str]:
        """Wait for the end of a job. Returns the result, and why it was lost."""
        clock = self._clock
        deadline = watched.began_at + self.seconds
        answered_at, gone, refused, pause = watched.began_at, 0, 0, min(FIRST_CHECK, self.interval)
        while True:
            left = deadline - clock.seconds()
            if left <= 0:
                await self._stop(watched)
                return "timeout", ""
            await sleep(min(pause, left), clock)
            pause = min(pause * SLOWER, self.interval)
            left = deadline - clock.seconds()
            try:
                # A turn may come late, and a user's function may never return.
                state = await within(max(0.0, left), clock, self._turns.run(self._check, watched))
            except TimeoutError:
                continue
            except (NoResponse, UnexpectedResponse) as error:
                refused = refused + 1 if isinstance(error, NoResponse) and error.refused else 0
                if refused >= REFUSALS or clock.seconds() - answered_at >= DEAD_SECONDS:
                    return "lost", f"the backend does not say what became of it: {error}"
                continue
            answered_at, refused = clock.seconds(), 0
            gone = gone + 1 if state is JobState.GONE else 0
            if gone >= REFUSALS and self.cancelled(watched.exchange):
                return "error", ""
            if gone >= REFUSALS:
                return "lost", "the backend does not know it any more: it was started again, or the job was deleted"
            if state is JobState.DONE:
                return "done", ""
            if state is JobState.ERROR:
                return "error", ""

    def _check(self, watched: Watched) -> Deferred[JobState]:
        return Deferred.fromCoroutine(self._checked(watched))

    async def _checked(self, watched: Watched) -> JobState:
        try:
            return await within(DEAD_SECONDS, self._clock, watched.job.check(watched.backend))
        except (NoResponse, UnexpectedResponse, CancelledError):
            raise
        except TimeoutError:
            raise UnexpectedResponse(f"a check took longer than {DEAD_SECONDS:g} s") from None
        except (Exception, SystemExit) as error:
            # A user's function, which may call sys.exit().
            self.log.failure("the state of a job could not be found out")
            raise UnexpectedResponse(f"{type(error).__name__}: {error}") from error

    async def _stop(self, watched: Watched) -> None:
        """Stop a job that took too long: its slot must not be free while the engine still works for it."""
        if not self.stop_seconds:
            return
        try:
            await within(self.stop_seconds, self._clock, watched.job.stop(watched.backend))
        except (NoResponse, UnexpectedResponse, TimeoutError) as error:
            self._warnings.log("not stopped", f"a job that took too long was not stopped: {error}")

    # -- the end of the worker

    async def drained(self, seconds: float) -> None:
        """Wait for all jobs, at most so long, and end the others as failed."""
        if not self._jobs:
            return
        self.log.info("{count} jobs may end within {seconds:g} s", count=len(self._jobs), seconds=seconds)
        done: Deferred[None] = Deferred()
        self._waiting.append(done)
        try:
            await within(seconds, self._clock, done)
        except TimeoutError:
            self.log.warn("{left} jobs were still under way after that", left=len(self._jobs))
        for watched in list(self._jobs.values()):
            assert watched.task is not None
            watched.task.cancel()


def _refusal(result: str, why: str) -> Refusal | None:
    """Why a job failed, for its account; None if it did not."""
    if result == "lost":
        return Refusal(502, "job_lost", f"the job was lost: {why}", origin="backend")
    if result == "timeout":
        return Refusal(504, "job_timeout", "the job took longer than VESPA_JOB_TIMEOUT", origin="backend")
    return draining() if result == "stopped" else None

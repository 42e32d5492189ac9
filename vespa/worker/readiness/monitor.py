"""Readiness: whether the backend can serve requests, and the message while it cannot."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Protocol

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from vespa.protocol.refusal import Refusal
from vespa.runtime.backoff import Backoff
from vespa.runtime.deadlines import sleep, within
from vespa.runtime.services import CoroutineService
from vespa.vast.status_report import Condition
from vespa.worker.readiness.health_probe import ProbeConfig, ProbeError
from vespa.worker.readiness.history import ReadinessHistory

MESSAGE_LIMIT = 500
"""The maximum length of a reported cause, in characters. It may be the text of a user's exception."""

REPEAT_SECONDS = 60.0  # the interval at which the same cause is logged again
SLOW_SECONDS = 4.0  # after so long without a response to a probe, this is logged

REFUSED_SECONDS = 1.0  # the interval between probes while the backend refuses connections

Step = Callable[[], Awaitable["Step"]]  # a state: a coroutine function that works until it returns the next state


class FigureCache(Protocol):
    """Keeps a measured throughput for the next process."""

    def load(self) -> float | None:
        """The stored figure, or None if there is none for this benchmark and backend."""

    def save(self, throughput: float) -> None:
        """Store a figure. Raises OSError."""


@define(eq=False, slots=False)
class ReadinessMonitor(CoroutineService):
    """
    Follows the state of the backend: loading → benchmarking → ready ⇄ suspect → errored → ready.

    Each state is a coroutine method that returns the next state. It awaits the state's timer, probe and benchmark, and
    counts its failures. All of these end with the coroutine, when the state changes or the service stops.

    `served` returns the model that the backend serves, "" if unknown. A stored figure of another model is dropped.

    `check_benchmark` raises an error of the benchmark itself that can be found without a backend.

    `probe` raises `ProbeError`. None means that the backend always counts as healthy. `on_ready` is called once, at
    the first ready, with the throughput, or None without a benchmark, which only an unsecured worker may lack.
    `run_benchmark` appends what the benchmark prints to `history.progress`.
    """

    _clock: IReactorTime
    _probe: Callable[[], Awaitable[object]] | None
    _run_benchmark: Callable[[], Awaitable[float]] | None
    _cache: FigureCache
    _secured: bool
    _on_ready: Callable[[float | None], None]
    _random: Callable[[], float]
    _probe_config: ProbeConfig = ProbeConfig()
    _check_benchmark: Callable[[], Awaitable[None]] | None = None
    _served: Callable[[], Awaitable[str]] | None = None
    _throughput: float | None = field(default=None, init=False)
    _until_trouble: Deferred[None] | None = field(default=None, init=False)
    history: ReadinessHistory = field(factory=ReadinessHistory, init=False)
    subject, backend = "the worker", "the backend"  # as log lines call them; one of several has its name here
    state = "loading"  # or benchmarking, ready, suspect, errored
    _message = _trouble = _logged = ""
    _logged_at = _started_at = _loadtime = 0.0
    _probed_at = -math.inf
    _refused = _broke = _hurried = False

    def __attrs_post_init__(self) -> None:
        self._benchmark_backoff = Backoff(30.0, 2.0, 600.0, 0.5, self._random)

    @property
    def throughput(self) -> float | None:
        """The benchmark's figure, maybe a `Figure`; None before the measurement."""
        return self._throughput

    @property
    def ready(self) -> bool:
        """Whether requests pass. A suspect backend still gets them."""
        return self.state in ("ready", "suspect")

    def condition(self) -> Condition:
        """The condition for the next report."""
        return Condition(
            loadtime=self._loadtime,
            max_perf=(self._throughput or 0.0) if self._loadtime else 0.0,
            error_msg=self._message,
            ready=self.ready,
        )

    def refusal(self) -> Refusal | None:
        """The refusal of a request while the worker is not ready; None when it is."""
        if self.state == "ready" or self.state == "suspect":  # not `self.ready`: each request calls this
            return None
        probe_config = self._probe_config
        wait = probe_config.poll_interval if self.state == "errored" else probe_config.retry_interval
        cause = self._message or self._trouble
        return Refusal(503, "not_ready", f"the worker is {self.state}{cause and f': {cause}'}", retry_after=wait)

    def connection_refused(self, cause: str) -> None:
        """
        The backend refused a request's connection, for `cause`: probe it at once, not at the next poll.

        A ready worker becomes suspect, and errored if the probe's connection is refused too. There is at most one probe
        a second, however often this is called. In any other state it does nothing.
        """
        if self._probe is None or not self.ready:
            return
        self._refused = True
        if self.state == "ready":
            self.log.warn(
                "{who} refused a request's connection; probing it now: {cause}", who=self.backend, cause=cause
            )
            self._enter("suspect")
            self.history.explained(cause)
        waiting, self._until_trouble = self._until_trouble, None
        if waiting is not None:
            waiting.callback(None)

    def connection_broke(self) -> None:
        """
        The backend broke a request's connection. It may be gone, so probe it at once.

        As with `connection_refused` there is at most one probe a second. Only the probe's result counts. If it fails,
        another probe follows after a second, because a dying process may still accept connections.
        """
        if not self.ready:
            return
        self._broke = True
        waiting, self._until_trouble = self._until_trouble, None
        if waiting is not None:
            waiting.callback(None)

    async def run(self) -> None:
        """Go from state to state. An internal error makes the backend errored, and is logged."""
        self._started_at = self._clock.seconds()
        self.history.entered(self._started_at, self.state, "", "")
        step: Step = self._starting
        while True:
            try:
                step = await step()
            except Exception as error:
                if not self.running:
                    raise
                self.log.failure("the readiness monitor failed")
                step = partial(self._errored, f"internal error: {type(error).__name__}")

    async def _starting(self) -> Step:
        if self._run_benchmark is not None:
            self._throughput = self._cache.load()
            if self._throughput is None and self._check_benchmark is not None:
                return partial(self._checking_benchmark, self._check_benchmark)
        elif self._secured:
            return self._unmeasurable
        else:
            self.log.info(
                "no benchmark is set: this worker waits for its backend alone, and does not limit the wait of requests"
            )
        return self._loading

    async def _checking_benchmark(self, check: Callable[[], Awaitable[None]]) -> Step:
        """Check the benchmark before the backend, which may take long to load, to report a mistake at once."""
        try:
            await within(None, self._clock, check())
        except Exception as error:
            # The check imports the user's code.
            if not self.running:
                raise
            self._enter("errored", f"the benchmark cannot be used: {str(error) or type(error).__name__}")
            await self._pause_benchmark()
            return partial(self._checking_benchmark, check)
        return self._loading

    async def _unmeasurable(self) -> Step:
        """Stay errored: without a benchmark the autoscaler does not know what this worker can do."""
        self._enter("errored", "no benchmark is set: set VESPA_BENCHMARK")
        return await self._for_ever()

    async def _loading(self) -> Step:
        self._enter("loading")
        probe_config = self._probe_config
        limit = probe_config.initial_timeout if self._throughput is None else probe_config.resume_timeout
        deadline = self._started_at + limit
        while (trouble := await self._check()) is not None:
            left = deadline - self._clock.seconds()
            if left <= 0:
                return partial(self._errored, f"the backend was not ready within {limit:g} s: {trouble}")
            await sleep(min(probe_config.retry_interval, left), self._clock)
        return self._well()

    async def _benchmarking(self, run_benchmark: Callable[[], Awaitable[float]]) -> Step:
        # The message stays: while a failed benchmark runs again, the worker is not healthy yet.
        self._enter("benchmarking", self._message)
        try:
            figure = await within(None, self._clock, run_benchmark())
        except Exception as error:
            # A benchmark is the user's code, which may raise anything.
            if not self.running:
                raise
            return partial(self._failed_benchmark, str(error) or type(error).__name__)
        if not (math.isfinite(figure) and figure > 0):
            return partial(self._failed_benchmark, f"its result is {figure}, not a positive number")
        level = getattr(figure, "concurrency", 0)
        at_once = f", with {level} requests at once" if level else ""
        self.log.info("{who} does {figure:.1f} units of work a second{at}", who=self.backend, figure=figure, at=at_once)
        self._throughput, self.history.measured_at = figure, self._clock.seconds()
        self._served = None
        try:
            self._cache.save(figure)
        except OSError as error:
            self.log.warn("the benchmark's result was not stored, the next start measures again: {error}", error=error)
        return self._ready

    async def _failed_benchmark(self, cause: str) -> Step:
        self._enter("errored", f"benchmark failed: {cause}")
        await self._pause_benchmark()
        trouble = await self._check()
        return self._well() if trouble is None else partial(self._errored, str(trouble))

    async def _pause_benchmark(self) -> None:
        """Wait until the benchmark, which has failed, may be tried again."""
        pause = self._benchmark_backoff.next()
        self.log.info("the benchmark is tried again in {pause:.0f} s", pause=pause)
        await sleep(pause, self._clock)

    async def _ready(self) -> Step:
        self._enter("ready")
        if not self._loadtime:
            self._on_ready(self._throughput)
            # In reports 0.0 means "not yet", so a start without any wait needs another value.
            self._loadtime = max(self._clock.seconds() - self._started_at, 0.001)
        if self._probe is None:
            return await self._for_ever()
        return await self._poll(0, None)

    async def _suspect(self, failures: int, trouble: ProbeError) -> Step:
        if failures >= self._probe_config.consecutive_failures:
            return partial(self._errored, f"the backend failed {failures} checks in a row: {trouble}")
        self._enter("suspect")
        return await self._poll(failures, trouble)

    async def _poll(self, failures: int, last: ProbeError | None) -> Step:
        """
        Wait, then check a backend that gets requests, after `failures` in a row; `last` is the newest.

        After two refused connections in a row, of probes or requests, the backend is errored.
        """
        refused = last is not None and last.refused
        soon = refused or (last is not None and self._hurried)
        await self._pause(REFUSED_SECONDS if soon else self._probe_config.poll_interval)
        refused = refused or self._refused
        self._hurried = self._broke
        self._refused = self._broke = False
        trouble = await self._check()
        if trouble is None:
            return self._ready
        if trouble.refused and (refused or self._refused):
            return partial(self._errored, f"the backend refuses connections: {trouble}")
        return partial(self._suspect, failures + 1, trouble)

    async def _pause(self, seconds: float) -> None:
        """Wait `seconds` for the next check, or until a request's connection is refused or breaks."""
        if not self._refused and not self._broke:
            until_trouble: Deferred[None] = Deferred()
            self._until_trouble = until_trouble
            try:
                await within(seconds, self._clock, until_trouble)
            except TimeoutError:
                return
            finally:
                self._until_trouble = None
        left = self._probed_at + REFUSED_SECONDS - self._clock.seconds()
        if left > 0:
            await sleep(left, self._clock)

    async def _errored(self, message: str) -> Step:
        self._enter("errored", message)
        await sleep(self._probe_config.poll_interval, self._clock)
        while await self._check() is not None:
            await sleep(self._probe_config.poll_interval, self._clock)
        self._message = ""
        return self._well()

    def _well(self) -> Step:
        """The next state for a healthy backend."""
        if self._throughput is None and self._run_benchmark is not None:
            return partial(self._benchmarking, self._run_benchmark)
        served, self._served = self._served, None
        if served is not None and self._run_benchmark is not None and not self._loadtime:
            return partial(self._comparing, served)
        return self._ready

    async def _comparing(self, served: Callable[[], Awaitable[str]]) -> Step:
        """Check once, before the first request, whether the stored figure is for the model that is served now."""
        kept = getattr(self._throughput, "served", "")
        now = await within(None, self._clock, served()) if kept else ""
        if kept and now and kept != now:
            changed = "{who} serves {now}, but the stored figure is for {kept}: measuring again"
            self.log.info(changed, who=self.backend, now=now, kept=kept)
            self._throughput = None
        return self._well()

    async def _check(self) -> ProbeError | None:
        """Probe once. Returns None if the backend is healthy, otherwise the error."""
        if self._probe is None:
            return None
        self._probed_at = self._clock.seconds()
        slow = None if self.ready else self._clock.callLater(SLOW_SECONDS, self._slow)
        try:
            await within(None, self._clock, self._probe())
        except ProbeError as error:
            self._note(str(error))
            self.history.probed(self._probed_at, self._clock.seconds(), self._trouble)
            return error
        finally:
            if slow is not None and slow.active():
                slow.cancel()
        self._trouble = self._logged = ""
        self.history.probed(self._probed_at, self._clock.seconds(), "")
        return None

    def _slow(self) -> None:
        self._note(f"the health check got no response for {SLOW_SECONDS:g} s; VESPA_HEALTHCHECK_TIMEOUT sets the limit")

    def _note(self, trouble: str) -> None:
        """Keep the cause for refusals, and log it if it is new or a minute has passed."""
        self._trouble = trouble = trouble[:MESSAGE_LIMIT]
        self.history.explained(trouble)
        now = self._clock.seconds()
        if trouble != self._logged or now - self._logged_at >= REPEAT_SECONDS:
            self._logged, self._logged_at = trouble, now
            told = "failed its check" if self.ready else "is not ready"
            self.log.warn("{who} {told}: {trouble}", who=self.backend, told=told, trouble=trouble)

    async def _for_ever(self) -> Step:
        """Wait until the service stops."""
        never: Deferred[Step] = Deferred()
        return await never

    def _enter(self, state: str, message: str = "") -> None:
        message = message[:MESSAGE_LIMIT]
        if (state, message) != (self.state, self._message):
            report = self.log.error if state == "errored" else self.log.info
            report("{who} is {state}{cause}", who=self.subject, state=state, cause=message and f": {message}")
        self.state = state
        self._message = message
        self.history.entered(self._clock.seconds(), state, message, self._trouble)

"""Readiness: whether the backend can be given work, and what to say while it cannot."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Protocol

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from vespa.protocol.refusal import Refusal
from vespa.runtime.backoff import Backoff
from vespa.runtime.deadlines import sleep, within
from vespa.runtime.services import CoroutineService
from vespa.vast.status_report import Condition
from vespa.worker.health_probe import ProbeError

MESSAGE_LIMIT = 500
"""How many characters of a cause are told: it may be the text of a user's exception."""

REPEAT_SECONDS = 60.0
"""How often the same cause of not being ready is logged."""
SLOW_SECONDS = 4.0
"""After so long without a response to a probe it is said that there is none yet."""

REFUSED_SECONDS = 1.0
"""Between probes where the backend refuses connections: it is gone, and there is nothing to wait for."""

Step = Callable[[], Awaitable["Step"]]
"""A state, at work until it knows what the next one is."""


class FigureCache(Protocol):
    """Where a measured throughput outlives the process."""

    def load(self) -> float | None:
        """The figure kept, if there is one that can be trusted."""
        ...

    def save(self, throughput: float) -> None:
        """Keep a figure. Raises OSError."""
        ...


@frozen
class ProbeConfig:
    """Times in seconds, and how many checks in a row may fail."""

    retry_interval: float = 5.0
    """Between checks while loading."""
    poll_interval: float = 10.0
    """Between checks afterwards."""
    consecutive_failures: int = 3
    """So many failed checks in a row make a ready backend an errored one."""
    initial_timeout: float = 1200.0
    """How long loading may take when nothing was measured yet: there may be a model to download."""
    resume_timeout: float = 300.0
    """How long loading may take when there is a figure from before."""


class ReadinessMonitor(CoroutineService):
    """
    Follows the backend: loading → benchmarking → ready ⇄ suspect → errored → ready.

    Each state is a method: a coroutine that ends with the state to go on to. So a state's timer, its count of failures,
    its probe and its benchmark are what that coroutine awaits: they are gone when it is left, and when the service
    stops. A machine with inputs and outputs would have to keep and cancel each of them by name.
    """

    def __init__(
        self,
        clock: IReactorTime,
        *,
        probe: Callable[[], Awaitable[None]] | None,
        run_benchmark: Callable[[], Awaitable[float]] | None,
        cache: FigureCache,
        secured: bool,
        on_ready: Callable[[float | None], None],
        random: Callable[[], float],
        probe_config: ProbeConfig = ProbeConfig(),
        check_benchmark: Callable[[], Awaitable[None]] | None = None,
        served: Callable[[], Awaitable[str]] | None = None,
    ) -> None:
        """
        `served` tells what the backend serves, "" where that cannot be known: a kept figure of another model is
        dropped.

        `check_benchmark` raises what is wrong with the benchmark itself, which needs no backend to be found.

        `probe` raises `ProbeError`; None: the backend is taken to be well. `on_ready` is called once, at the first
        ready, with the throughput, which is None where there is no benchmark: only an unsecured worker may do without.
        """
        self._clock = clock
        self._probe = probe
        self._run_benchmark = run_benchmark
        self._check_benchmark = check_benchmark
        self._served = served
        self._cache = cache
        self._secured = secured
        self._on_ready = on_ready
        self._probe_config = probe_config
        self._benchmark_backoff = Backoff(30.0, 2.0, 600.0, 0.5, random)
        self._state = "loading"
        self._message = ""
        self._trouble = ""
        self._logged = ""
        self._logged_at = 0.0
        self._throughput: float | None = None
        self._started_at = 0.0
        self._loadtime = 0.0
        self._probed_at = -math.inf
        self._until_trouble: Deferred[None] | None = None
        self._refused = False
        self._broke = self._hurried = False

    @property
    def state(self) -> str:
        """One of loading, benchmarking, ready, suspect, errored."""
        return self._state

    @property
    def ready(self) -> bool:
        """Whether requests are passed on. A suspect backend still gets them."""
        return self._state in ("ready", "suspect")

    def condition(self) -> Condition:
        """What the autoscaler is to be told."""
        return Condition(
            loadtime=self._loadtime,
            max_perf=(self._throughput or 0.0) if self._loadtime else 0.0,
            error_msg=self._message,
            ready=self.ready,
        )

    def refusal(self) -> Refusal | None:
        """What a client is to be told while the worker is not ready; None when it is."""
        if self._state == "ready" or self._state == "suspect":  # asked for each request: without a frame of its own
            return None
        probe_config = self._probe_config
        wait = probe_config.poll_interval if self._state == "errored" else probe_config.retry_interval
        cause = self._message or self._trouble
        return Refusal(503, "not_ready", f"the worker is {self._state}{cause and f': {cause}'}", retry_after=wait)

    def connection_refused(self, cause: str) -> None:
        """
        A request's connection to the backend was refused, for `cause`: probe it at once rather than at the next poll.

        A ready worker is suspect from now on, and errored when the probe's connection is refused too. It may be called
        for each such request: there is one probe a second at most. In any other state it changes nothing.
        """
        if self._probe is None or not self.ready:
            return
        self._refused = True
        if self._state == "ready":
            self.log.warn("a request found no backend, which is probed at once: {cause}", cause=cause)
            self._enter("suspect")
        waiting, self._until_trouble = self._until_trouble, None
        if waiting is not None:
            waiting.callback(None)

    def connection_broke(self) -> None:
        """
        The backend broke a request's connection off: it may be gone, and is probed at once.

        As with `connection_refused` there is one probe a second at most; here nothing but the probe counts. One that
        fails is followed by another in a second: a process that is dying may still take connections.
        """
        if not self.ready:
            return
        self._broke = True
        waiting, self._until_trouble = self._until_trouble, None
        if waiting is not None:
            waiting.callback(None)

    async def run(self) -> None:
        """Go from state to state. An error of our own makes an errored backend, and is logged."""
        self._started_at = self._clock.seconds()
        step: Step = self._starting
        while True:
            try:
                step = await step()
            except Exception as error:
                if not self.running:
                    raise
                self.log.failure("the readiness monitor itself failed")
                step = partial(self._errored, f"internal error: {type(error).__name__}")

    async def _starting(self) -> Step:
        if self._run_benchmark is not None:
            self._throughput = self._cache.load()
            if self._throughput is None and self._check_benchmark is not None:
                return partial(self._checking_benchmark, self._check_benchmark)
        elif self._secured:
            return self._unmeasurable
        else:
            self.log.info("no benchmark is set: ready as soon as the backend is, for any number of requests")
        return self._loading

    async def _checking_benchmark(self, check: Callable[[], Awaitable[None]]) -> Step:
        """Before the backend is looked at: it may take long to load, and a mistake is told at once."""
        try:
            await within(None, self._clock, check())
        except Exception as error:
            # It is the user's code that is imported.
            if not self.running:
                raise
            self._enter("errored", f"the benchmark cannot be used: {str(error) or type(error).__name__}")
            await sleep(self._benchmark_backoff.next(), self._clock)
            return partial(self._checking_benchmark, check)
        return self._loading

    async def _unmeasurable(self) -> Step:
        """Without a benchmark the autoscaler could not tell what this worker can do: there is no way out of here."""
        self._enter("errored", "no benchmark is set (VESPA_BENCHMARK)")
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
        # The message stays: while a failed benchmark is run again, the worker is not well yet.
        self._enter("benchmarking", self._message)
        try:
            figure = await within(None, self._clock, run_benchmark())
        except Exception as error:
            # A benchmark is the user's code, and so is what it fails with.
            if not self.running:
                raise
            return partial(self._failed_benchmark, str(error) or type(error).__name__)
        if not (math.isfinite(figure) and figure > 0):
            return partial(self._failed_benchmark, f"its result is {figure}, not a positive number")
        level = getattr(figure, "concurrency", 0)
        at_once = f", with {level} requests at once" if level else ""
        self.log.info(
            "the backend does {throughput:.1f} units of work a second{at_once}", throughput=figure, at_once=at_once
        )
        self._throughput = figure
        self._served = None
        try:
            self._cache.save(figure)
        except OSError as error:
            self.log.warn("the benchmark's result could not be kept: {error}", error=error)
        return self._ready

    async def _failed_benchmark(self, cause: str) -> Step:
        self._enter("errored", f"benchmark failed: {cause}")
        await sleep(self._benchmark_backoff.next(), self._clock)
        trouble = await self._check()
        return self._well() if trouble is None else partial(self._errored, str(trouble))

    async def _ready(self) -> Step:
        self._enter("ready")
        if not self._loadtime:
            self._on_ready(self._throughput)
            # On the wire 0.0 means "not yet", so that a start without any wait needs to be something else.
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
        The next check of a backend that requests go to, after so many `failures` in a row; `last` is the newest.

        Two refused connections in a row, be they a probe's or a request's, need no third: nobody is there.
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
        """Wait until the next check: until a request meets trouble, but for no longer than `seconds`."""
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
        """Where a healthy backend leads."""
        if self._throughput is None and self._run_benchmark is not None:
            return partial(self._benchmarking, self._run_benchmark)
        served, self._served = self._served, None
        if served is not None and self._run_benchmark is not None and not self._loadtime:
            return partial(self._comparing, served)
        return self._ready

    async def _comparing(self, served: Callable[[], Awaitable[str]]) -> Step:
        """See once, before the first request, whether the kept figure is that of the model that is served now."""
        kept = getattr(self._throughput, "served", "")
        now = await within(None, self._clock, served()) if kept else ""
        if kept and now and kept != now:
            self.log.info("the backend serves {now}, the kept figure is of {kept}: measuring again", now=now, kept=kept)
            self._throughput = None
        return self._well()

    async def _check(self) -> ProbeError | None:
        """Probe once: None if the backend is well, else why not."""
        if self._probe is None:
            return None
        self._probed_at = self._clock.seconds()
        slow = None if self.ready else self._clock.callLater(SLOW_SECONDS, self._slow)
        try:
            await within(None, self._clock, self._probe())
        except ProbeError as error:
            self._note(str(error))
            return error
        finally:
            if slow is not None and slow.active():
                slow.cancel()
        self._trouble = self._logged = ""
        return None

    def _slow(self) -> None:
        self._note(
            f"the health check has had no response for {SLOW_SECONDS:g} s; VESPA_HEALTHCHECK_TIMEOUT is its limit"
        )

    def _note(self, trouble: str) -> None:
        """Tell why the backend is not well: to callers from now on, in the log when it is news or a minute old."""
        self._trouble = trouble = trouble[:MESSAGE_LIMIT]
        now = self._clock.seconds()
        if trouble != self._logged or now - self._logged_at >= REPEAT_SECONDS:
            self._logged, self._logged_at = trouble, now
            told = "failed its check" if self.ready else "is not ready"
            self.log.warn("the backend {told}: {trouble}", told=told, trouble=trouble)

    async def _for_ever(self) -> Step:
        """Wait for the service to stop."""
        never: Deferred[Step] = Deferred()
        return await never

    def _enter(self, state: str, message: str = "") -> None:
        message = message[:MESSAGE_LIMIT]
        if (state, message) != (self._state, self._message):
            report = self.log.error if state == "errored" else self.log.info
            report("the worker is {state}{cause}", state=state, cause=message and f": {message}")
        self._state = state
        self._message = message

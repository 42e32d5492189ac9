"""Tests of `vespa.worker.readiness.monitor`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogEvent, LogLevel, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from tests.logs import observe_log
from vespa.benchmarking.contract import Figure
from vespa.runtime.state_changes import StateChange
from vespa.worker.readiness.health_probe import ProbeConfig, ProbeError
from vespa.worker.readiness.history import ProbeResult
from vespa.worker.readiness.monitor import MESSAGE_LIMIT, ReadinessMonitor

DEAD = "connection refused"


class Backend:
    """A backend that is well or not, as the test says; it may also keep a probe waiting."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.trouble: str | None = None
        self.refused = False
        self.bug: Exception | None = None
        self.held: Deferred[None] | None = None
        self.probes: list[float] = []

    async def probe(self) -> None:
        self.probes.append(self.clock.seconds())
        if self.held is not None:
            await self.held
        if self.bug is not None:
            raise self.bug
        if self.trouble is not None:
            raise ProbeError(self.trouble, refused=self.refused)


class Benchmark:
    """A benchmark that the test ends."""

    def __init__(self) -> None:
        self.runs: list[Deferred[float]] = []
        self.cancelled = 0

    def run(self) -> Deferred[float]:
        self.runs.append(Deferred(self._cancel))
        return self.runs[-1]

    def _cancel(self, _: object) -> None:
        self.cancelled += 1


class Cache:
    """Keeps a figure; `broken` makes it fail to."""

    def __init__(self) -> None:
        self.value: float | None = None
        self.broken = False

    def load(self) -> float | None:
        return self.value

    def save(self, throughput: float) -> None:
        if self.broken:
            raise OSError("read-only")
        self.value = throughput


class WatchTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000.0)
        self.backend = Backend(self.clock)
        self.benchmark = Benchmark()
        self.cache = Cache()
        self.throughputs: list[float | None] = []
        self.monitor = self.make()

    def make(
        self,
        *,
        probe: bool = True,
        benchmark: Callable[[], Awaitable[float]] | bool = True,
        secured: bool = True,
        probe_config: ProbeConfig | None = None,
        check: Callable[[], Awaitable[None]] | None = None,
        served: Callable[[], Awaitable[str]] | None = None,
    ) -> ReadinessMonitor:
        run = self.benchmark.run if benchmark is True else benchmark or None
        return ReadinessMonitor(
            self.clock,
            probe=self.backend.probe if probe else None,
            run_benchmark=run,
            cache=self.cache,
            secured=secured,
            on_ready=self.throughputs.append,
            random=lambda: 0.0,
            probe_config=probe_config or ProbeConfig(),
            check_benchmark=check,
            served=served,
        )

    def start(self) -> None:
        self.monitor.startService()

    def start_ready(self, figure: float = 50.0) -> None:
        self.start()
        self.benchmark.runs[0].callback(figure)
        self.assertEqual(self.monitor.state, "ready")

    def wait(self, seconds: float) -> None:
        """Let time pass, half a second at a time."""
        self.clock.pump([0.5] * int(seconds * 2))

    def at(self) -> list[float]:
        """When probes were made, in seconds from the start."""
        return [time - 1000 for time in self.backend.probes]

    def message(self) -> str:
        return self.monitor.condition().error_msg


class LoadingTests(WatchTests):
    def test_before_the_start(self) -> None:
        """Before it is started the worker is loading."""
        self.assertEqual((self.monitor.state, self.monitor.ready), ("loading", False))

    def test_until_well(self) -> None:
        """While loading the backend is asked at the retry interval; then it is benchmarked; then it is ready."""
        self.backend.trouble = DEAD
        self.start()
        self.wait(12)
        self.assertEqual(self.at(), [0, 5, 10])
        self.assertEqual((self.monitor.state, self.message()), ("loading", ""))
        self.backend.trouble = None
        self.wait(3)
        self.assertEqual((self.monitor.state, self.monitor.ready), ("benchmarking", False))
        self.wait(60)
        self.assertEqual(self.at(), [0, 5, 10, 15])
        self.benchmark.runs[0].callback(50.0)
        self.assertEqual((self.monitor.state, self.monitor.ready), ("ready", True))
        self.assertEqual(self.throughputs, [50.0])

    def test_history(self) -> None:
        """What it saw can be read: each state with its cause, and the last probe."""
        history = self.monitor.history
        self.backend.trouble = DEAD
        self.start()
        self.assertEqual(history.changes.all(), [StateChange(1000.0, "loading", DEAD)])
        self.assertEqual(history.last_probe, ProbeResult(1000.0, 0.0, DEAD))
        self.backend.trouble = None
        self.wait(5)
        self.assertEqual(history.last_probe, ProbeResult(1005.0, 0.0, ""))
        self.benchmark.runs[0].callback(50.0)
        self.assertEqual((self.monitor.throughput, history.measured_at), (50.0, 1005.0))
        self.backend.trouble, self.backend.refused = "it is gone", True
        self.wait(12)
        self.backend.trouble = None
        self.wait(10)
        gone = "the backend refuses connections: it is gone"
        self.assertEqual(
            history.changes.all(),
            [
                StateChange(1000.0, "loading", DEAD),
                StateChange(1005.0, "benchmarking"),
                StateChange(1005.0, "ready"),
                StateChange(1015.0, "suspect", "it is gone"),
                StateChange(1016.0, "errored", gone),
                StateChange(1026.0, "ready"),
            ],
        )

    def test_suspected_by_a_request(self) -> None:
        """If a request's connection was refused, that is the reason for the suspicion."""
        self.start_ready()
        self.wait(2)
        self.monitor.connection_refused("could not connect: refused")
        suspicion = self.monitor.history.changes.all()[-2]
        self.assertEqual(suspicion, StateChange(1002.0, "suspect", "could not connect: refused"))

    def test_condition(self) -> None:
        """Load time and throughput are set when the worker is first ready, and stay."""
        self.start()
        self.wait(7)
        self.assertEqual((self.monitor.condition().loadtime, self.monitor.condition().max_perf), (0.0, 0.0))
        self.benchmark.runs[0].callback(50.0)
        for trouble in (None, DEAD, None):
            self.backend.trouble = trouble
            self.wait(60)
            condition = self.monitor.condition()
            self.assertEqual((condition.loadtime, condition.max_perf), (7.0, 50.0))
            self.assertIs(condition.ready, trouble is None)
        self.assertEqual(self.throughputs, [50.0])

    def test_ready_at_once(self) -> None:
        """A start without any wait has a load time too, for 0 means that there is none yet."""
        self.start_ready()
        self.assertGreater(self.monitor.condition().loadtime, 0.0)

    def test_deadline(self) -> None:
        """A backend that does not come up in time is an error that says so, and recovers when it does come up."""
        for cached, limit in ((None, 1200), (40.0, 300)):
            self.cache.value = cached
            self.monitor = self.make()
            self.backend.trouble = DEAD
            self.start()
            self.wait(limit - 0.5)
            self.assertEqual(self.monitor.state, "loading")
            self.wait(0.5)
            self.assertEqual(self.monitor.state, "errored")
            self.assertEqual(self.message(), f"the backend was not ready within {limit} s: {DEAD}")
            self.backend.trouble = None
            self.wait(10)
            self.assertEqual(self.monitor.state, "ready" if cached else "benchmarking")
            self.assertEqual(self.message(), "")
            self.successResultOf(self.monitor.stopService())

    def test_hanging_probe(self) -> None:
        """A probe that takes its time delays the next: there is one at a time."""
        self.backend.held = Deferred()
        self.start()
        self.wait(20)
        self.assertEqual(len(self.backend.probes), 1)
        self.backend.held.callback(None)
        self.assertEqual(self.monitor.state, "benchmarking")

    def test_no_probe(self) -> None:
        """With nothing to ask the backend is taken to be well, and nothing is asked later."""
        self.monitor = self.make(probe=False)
        self.start_ready()
        self.wait(60)
        self.assertEqual((self.monitor.state, self.backend.probes), ("ready", []))
        self.assertEqual(self.clock.getDelayedCalls(), [])


class SayingWhyTests(WatchTests):
    def setUp(self) -> None:
        super().setUp()
        self.lines: list[tuple[float, str, str]] = []
        self.said: list[str] = []
        observe_log(self, self.observe)

    def observe(self, event: LogEvent) -> None:
        self.said.append(formatEvent(event))
        if event["log_level"] >= LogLevel.warn and event["log_namespace"].startswith("vespa.worker"):
            self.lines.append((self.clock.seconds() - 1000, event["log_level"].name, formatEvent(event)))

    def why(self) -> str:
        refusal = self.monitor.refusal()
        assert refusal is not None
        return refusal.message

    def test_first_failure(self) -> None:
        """The first failed check is logged at once, and is in the 503; loading is not reported as an error."""
        self.backend.trouble = DEAD
        self.start()
        self.assertEqual(self.lines, [(0, "warn", f"the backend is not ready: {DEAD}")])
        self.assertEqual((self.why(), self.message()), (f"the worker is loading: {DEAD}", ""))

    def test_again(self) -> None:
        """The message is logged again if the cause changes, and each minute, but not with each check."""
        self.backend.trouble = DEAD
        self.start()
        self.wait(33)
        self.backend.trouble = "answered 503"
        self.wait(100)
        self.assertEqual([at for at, *_ in self.lines], [0, 35, 95])
        self.assertEqual(self.lines[1][1:], ("warn", "the backend is not ready: answered 503"))
        self.backend.trouble = None
        self.wait(5)
        self.assertEqual(self.why(), "the worker is benchmarking")

    def test_hanging_check(self) -> None:
        """A check without a response is said within five seconds, though it may take longer; a quick one never."""
        self.backend.held = Deferred()
        self.start()
        self.wait(4)
        self.assertEqual([line[:2] for line in self.lines], [(4, "warn")])
        self.assertIn("no response for 4 s", self.why())
        self.backend.held.callback(None)
        self.assertEqual(self.monitor.state, "benchmarking")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_levels(self) -> None:
        """A failed check of a ready backend is a warning; an errored backend and a failed benchmark are errors."""
        self.start()
        self.benchmark.runs[0].errback(ValueError("no tokens"))
        self.assertEqual(self.lines, [(0, "error", "the worker is errored: benchmark failed: no tokens")])
        self.assertEqual(self.said[-1], "the benchmark is tried again in 30 s")
        self.wait(30)
        self.benchmark.runs[1].callback(50.0)
        del self.lines[:]
        self.backend.trouble = DEAD
        self.wait(30)
        self.assertEqual(
            self.lines,
            [
                (40, "warn", f"the backend failed its check: {DEAD}"),
                (60, "error", f"the worker is errored: the backend failed 3 checks in a row: {DEAD}"),
            ],
        )

    def test_unmeasurable(self) -> None:
        """A secured worker without a benchmark says so at once, as an error, in its reports too."""
        self.monitor = self.make(benchmark=False)
        self.start()
        self.assertEqual(self.lines, [(0, "error", f"the worker is errored: {self.message()}")])


class BenchmarkTests(WatchTests):
    def test_cannot_be_imported(self) -> None:
        """A benchmark that cannot be used is an error at once, whatever the backend does; it is checked again later."""
        checks: list[Deferred[None]] = []

        def check() -> Deferred[None]:
            checks.append(Deferred())
            return checks[-1]

        self.backend.trouble = DEAD
        self.monitor = self.make(check=check)
        self.start()
        checks[0].errback(ValueError("cannot import benchmarks.vllm; did you mean benchmarks.openai_chat:benchmark?"))
        self.assertEqual(self.monitor.state, "errored")
        refusal = self.monitor.refusal()
        assert refusal is not None
        for told in (self.message(), refusal.message):
            self.assertIn("the benchmark cannot be used: cannot import benchmarks.vllm; did you mean", told)
        self.wait(60)
        checks[1].callback(None)
        self.assertEqual((self.monitor.state, self.message()), ("loading", ""))

    def test_another_model(self) -> None:
        """A kept figure is dropped where the backend now serves another model, and kept where it does not tell."""
        for kept, now, spared in (("a", "a", True), ("a", "b", False), ("a", "", True), ("", "b", True)):
            self.benchmark.runs.clear()
            self.cache.value = Figure(40.0, 8, kept)

            async def served(now: str = now) -> str:
                return now

            self.monitor = self.make(served=served)
            self.start()
            self.assertEqual(self.monitor.state, "ready" if spared else "benchmarking")
            self.assertEqual(len(self.benchmark.runs), 0 if spared else 1)
            if not spared:
                self.benchmark.runs[0].callback(7.0)
                self.assertEqual((self.monitor.state, self.throughputs[-1]), ("ready", 7.0))

    def test_check_spared(self) -> None:
        """With a figure from before nothing is imported."""
        self.cache.value = 40.0
        self.monitor = self.make(check=lambda: self.fail("it was checked"))
        self.start()
        self.assertEqual(self.monitor.state, "ready")

    def test_cached(self) -> None:
        """A figure from before spares the benchmark."""
        self.cache.value = 40.0
        self.start()
        self.assertEqual(self.monitor.state, "ready")
        self.assertEqual((self.throughputs, self.benchmark.runs), ([40.0], []))
        self.assertEqual(self.monitor.condition().max_perf, 40.0)

    def test_saved(self) -> None:
        """A figure is kept; that it cannot be kept is no reason not to be ready."""
        self.start_ready(60.0)
        self.assertEqual(self.cache.value, 60.0)
        self.successResultOf(self.monitor.stopService())
        self.cache.value, self.cache.broken = None, True
        self.benchmark.runs.clear()
        self.monitor = self.make()
        self.start_ready()

    def test_failure(self) -> None:
        """A failed benchmark is an error that says why; it is run again, ever further apart, up to ten minutes."""
        self.start()
        starts = []
        for run in range(7):
            self.benchmark.runs[run].errback(ValueError("no tokens"))
            self.assertEqual((self.monitor.state, self.message()), ("errored", "benchmark failed: no tokens"))
            failed_at = self.clock.seconds()
            while len(self.benchmark.runs) == run + 1:
                self.wait(0.5)
            starts.append(self.clock.seconds() - failed_at)
            self.assertEqual((self.monitor.state, self.message()), ("benchmarking", "benchmark failed: no tokens"))
        self.assertEqual(starts, [30, 60, 120, 240, 480, 600, 600])
        self.benchmark.runs[7].callback(50.0)
        self.assertEqual((self.monitor.state, self.message(), self.throughputs), ("ready", "", [50.0]))

    def test_never_made_up(self) -> None:
        """A result other than a positive number is a failed benchmark."""
        for figure in (0.0, -1.0, float("nan"), float("inf")):
            self.monitor = self.make()
            self.benchmark.runs.clear()
            self.start()
            self.benchmark.runs[0].callback(figure)
            self.assertEqual(self.monitor.state, "errored")
            self.assertIn("benchmark failed", self.message())
            self.successResultOf(self.monitor.stopService())
        self.assertEqual((self.cache.value, self.throughputs), (None, []))

    def test_raised_at_once(self) -> None:
        """A benchmark that cannot even be started is a failed one."""

        def broken() -> Awaitable[float]:
            raise ValueError("no such file")

        self.monitor = self.make(benchmark=broken)
        self.start()
        self.assertEqual(self.message(), "benchmark failed: no such file")

    def test_cancelled_from_below(self) -> None:
        """A benchmark that ends as cancelled, although we did not cancel it, has failed."""
        self.start()
        self.benchmark.runs[0].cancel()
        self.assertEqual(self.monitor.state, "errored")

    def test_backend_gone_meanwhile(self) -> None:
        """A failed benchmark is not run again before the backend is well."""
        self.start()
        self.backend.trouble = DEAD
        self.benchmark.runs[0].errback(ValueError("x"))
        self.wait(200)
        self.assertEqual((len(self.benchmark.runs), self.monitor.state, self.message()), (1, "errored", DEAD))
        self.backend.trouble = None
        self.wait(10)
        self.assertEqual((len(self.benchmark.runs), self.monitor.state, self.message()), (2, "benchmarking", ""))

    def test_long_message(self) -> None:
        """However long an exception's text, a report stays short."""
        self.start()
        self.benchmark.runs[0].errback(ValueError("x" * 100000))
        self.assertEqual(len(self.message()), MESSAGE_LIMIT)

    def test_none_secured(self) -> None:
        """A secured worker without a benchmark never becomes ready, and says why."""
        self.monitor = self.make(benchmark=False)
        self.start()
        self.wait(100)
        self.assertEqual((self.monitor.state, self.throughputs), ("errored", []))
        self.assertIn("VESPA_BENCHMARK", self.message())

    def test_none_unsecured(self) -> None:
        """An unsecured worker without a benchmark becomes ready with no throughput."""
        self.monitor = self.make(benchmark=False, secured=False)
        self.start()
        self.assertEqual((self.monitor.state, self.throughputs), ("ready", [None]))
        self.assertEqual(self.monitor.condition().max_perf, 0.0)


class ReadyTests(WatchTests):
    def test_failures_in_a_row(self) -> None:
        """A few failed checks in a row make an error; until then requests are passed on."""
        self.start_ready()
        self.backend.trouble = DEAD
        self.wait(29.5)
        self.assertEqual((self.monitor.state, self.monitor.ready, self.message()), ("suspect", True, ""))
        self.wait(0.5)
        self.assertEqual((self.monitor.state, self.monitor.ready), ("errored", False))
        self.assertEqual(self.message(), f"the backend failed 3 checks in a row: {DEAD}")
        self.assertEqual(self.at(), [0, 10, 20, 30])

    def test_suspicion_passes(self) -> None:
        """One good check takes all suspicion away."""
        self.start_ready()
        for _ in range(3):
            self.backend.trouble = DEAD
            self.wait(20)
            self.assertEqual(self.monitor.state, "suspect")
            self.backend.trouble = None
            self.wait(10)
            self.assertEqual(self.monitor.state, "ready")

    def test_one_failure_may_be_enough(self) -> None:
        """If one failure is the limit, the state `suspect` is skipped."""
        self.monitor = self.make(probe_config=ProbeConfig(consecutive_failures=1))
        self.start_ready()
        self.backend.trouble = DEAD
        self.wait(10)
        self.assertEqual(self.monitor.state, "errored")

    def test_recovery(self) -> None:
        """When the backend is well again so is the worker: message cleared, benchmark not repeated."""
        self.start_ready()
        self.backend.trouble = DEAD
        self.wait(100)
        self.backend.trouble = None
        self.wait(10)
        self.assertEqual((self.monitor.state, self.monitor.ready, self.message()), ("ready", True, ""))
        self.assertEqual((len(self.benchmark.runs), self.throughputs), (1, [50.0]))
        self.assertIsNone(self.monitor.refusal())

    def test_a_bug_of_ours(self) -> None:
        """An unexpected error that says nothing about the backend is logged, and the monitor goes on."""
        self.start_ready()
        self.backend.bug = KeyError("bug")
        self.wait(10)
        self.assertEqual((self.monitor.state, self.message()), ("errored", "internal error: KeyError"))
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)
        self.backend.bug = None
        self.wait(10)
        self.assertEqual(self.monitor.state, "ready")


class RefusedConnectionTests(WatchTests):
    def refuse(self) -> None:
        """From now on the backend refuses connections."""
        self.backend.trouble, self.backend.refused = DEAD, True

    def test_told_by_a_request(self) -> None:
        """A request whose connection is refused has the backend probed at once; a refused probe is an error at once."""
        self.start_ready()
        self.wait(5)
        self.refuse()
        self.monitor.connection_refused("port 8000")
        self.assertEqual((self.monitor.state, self.monitor.ready), ("errored", False))
        self.assertEqual(self.at(), [0, 5])
        self.assertEqual(self.message(), f"the backend refuses connections: {DEAD}")
        self.backend.trouble = None
        self.wait(10)
        self.assertEqual((self.monitor.state, self.message()), ("ready", ""))

    def test_suspect_meanwhile(self) -> None:
        """While that probe is under way the backend is suspect, and well again when the probe is answered."""
        self.start_ready()
        self.wait(5)
        self.backend.held = Deferred()
        self.monitor.connection_refused("port 8000")
        self.assertEqual((self.monitor.state, self.monitor.ready), ("suspect", True))
        self.backend.held.callback(None)
        self.assertEqual(self.monitor.state, "ready")
        self.wait(10)
        self.assertEqual(self.at(), [0, 5, 15])

    def test_once_a_second(self) -> None:
        """However many requests are refused, a backend that answers its probes is probed once a second at most."""
        self.start_ready()
        for _ in range(20):
            for _ in range(100):
                self.monitor.connection_refused("port 8000")
            self.wait(0.5)
        self.assertEqual(self.at(), list(range(11)))
        self.wait(2)
        self.assertEqual(self.monitor.state, "ready")

    def test_told_by_a_probe(self) -> None:
        """A probe whose connection is refused is followed by another within a second; two are enough."""
        self.start_ready()
        self.refuse()
        self.wait(10)
        self.assertEqual(self.monitor.state, "suspect")
        self.wait(1)
        self.assertEqual((self.monitor.state, self.at()), ("errored", [0, 10, 11]))

    def test_another_trouble(self) -> None:
        """A probe that fails otherwise after a refused request is one failure like any."""
        self.start_ready()
        self.wait(5)
        self.backend.trouble = "health check answered 500"
        self.monitor.connection_refused("port 8000")
        self.wait(19.5)
        self.assertEqual(self.monitor.state, "suspect")
        self.wait(0.5)
        self.assertEqual((self.monitor.state, self.at()), ("errored", [0, 5, 15, 25]))

    def test_while_it_is_not_ready(self) -> None:
        """A worker that is loading, measured or errored goes on as it does; so does one that has nothing to probe."""
        self.refuse()
        self.start()
        self.monitor.connection_refused("port 8000")
        self.wait(4)
        self.assertEqual((self.monitor.state, self.at()), ("loading", [0]))
        self.successResultOf(self.monitor.stopService())
        self.monitor = self.make(probe=False)
        self.start_ready()
        self.monitor.connection_refused("port 8000")
        self.assertEqual(self.monitor.state, "ready")

    def test_broken_off(self) -> None:
        """A request that the backend broke off has it probed at once: one that is gone is known in a second."""
        self.start_ready()
        self.wait(5)
        self.monitor.connection_broke()
        self.assertEqual((self.monitor.state, self.at()), ("ready", [0, 5]))
        self.monitor.connection_broke()
        self.monitor.connection_broke()
        self.refuse()
        self.wait(1)
        self.assertEqual((self.monitor.state, self.at()), ("suspect", [0, 5, 6]))
        self.wait(1)
        self.assertEqual((self.monitor.state, self.at()), ("errored", [0, 5, 6, 7]))
        self.monitor.connection_broke()
        self.assertEqual(self.at(), [0, 5, 6, 7])

    def test_broken_off_by_a_dying_backend(self) -> None:
        """A probe that a dying process still takes, and drops, is followed by another in a second."""
        self.start_ready()
        self.wait(5)
        self.backend.trouble = "health check failed: the backend closed its connection"
        self.monitor.connection_broke()
        self.refuse()
        self.wait(1)
        self.assertEqual((self.monitor.state, self.at()), ("suspect", [0, 5, 6]))
        self.wait(1)
        self.assertEqual((self.monitor.state, self.at()), ("errored", [0, 5, 6, 7]))

    def test_broken_off_during_a_probe(self) -> None:
        """A connection that breaks during a probe causes another probe."""
        self.start_ready()
        self.backend.held = Deferred()
        self.wait(10)
        self.monitor.connection_broke()
        held, self.backend.held = self.backend.held, None
        self.refuse()
        self.backend.trouble, trouble = None, self.backend.trouble
        held.callback(None)
        self.backend.trouble = trouble
        self.wait(1)
        self.assertEqual((self.monitor.state, self.at()), ("suspect", [0, 10, 11]))

    def test_stop(self) -> None:
        """A stop leaves no timer, in the pause before the next probe too."""
        self.start_ready()
        self.monitor.connection_refused("port 8000")
        self.successResultOf(self.monitor.stopService())
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.monitor.connection_refused("port 8000")


class RefusalTests(WatchTests):
    def test_says_when_and_why(self) -> None:
        """A request before ready is 503 with the state, its cause, and when to come back; when ready there is none."""
        self.monitor = self.make(probe_config=ProbeConfig(retry_interval=4.0, poll_interval=8.0))
        self.backend.trouble = DEAD
        self.start()
        for state, retry_after, forward in (
            ("loading", 4.0, lambda: None),
            ("benchmarking", 4.0, lambda: setattr(self.backend, "trouble", None)),
            ("errored", 8.0, lambda: self.benchmark.runs[0].errback(ValueError("no tokens"))),
        ):
            forward()
            self.wait(4)
            refusal = self.monitor.refusal()
            assert refusal is not None
            self.assertEqual((refusal.status, refusal.code), (503, "not_ready"))
            self.assertEqual(refusal.retry_after, retry_after)
            self.assertIn(state, refusal.message)
        assert refusal is not None
        self.assertIn("benchmark failed: no tokens", refusal.message)


class StopTests(WatchTests):
    def assert_stops(self) -> None:
        self.successResultOf(self.monitor.stopService())
        self.assertEqual(self.clock.getDelayedCalls(), [])
        state = self.monitor.state
        self.wait(2000)
        self.assertEqual(self.monitor.state, state)

    def test_between_probes(self) -> None:
        """A stop leaves no timer in any state that waits for one."""
        self.backend.trouble = DEAD
        for seconds, state in ((1, "loading"), (1201, "errored")):
            self.monitor = self.make()
            self.start()
            self.wait(seconds)
            self.assertEqual(self.monitor.state, state)
            self.assert_stops()
        self.backend.trouble = None
        for seconds, state in ((1, "ready"), (10, "suspect"), (60, "errored")):
            self.monitor = self.make()
            self.benchmark.runs.clear()
            self.cache.value = None
            self.start_ready()
            self.backend.trouble = DEAD
            self.wait(seconds)
            self.assertEqual(self.monitor.state, state)
            self.assert_stops()
            self.backend.trouble = None

    def test_in_a_probe(self) -> None:
        """A stop cancels a probe."""
        cancelled: list[object] = []
        self.backend.held = Deferred(cancelled.append)
        self.start()
        self.assert_stops()
        self.assertEqual(len(cancelled), 1)

    def test_in_a_benchmark(self) -> None:
        """A stop cancels a benchmark, whatever that makes of it, and between two tries there is none."""
        self.start()
        self.assert_stops()
        self.assertEqual(self.benchmark.cancelled, 1)
        self.benchmark.runs.clear()
        self.monitor = self.make()
        self.start()
        self.benchmark.runs[0].errback(ValueError("x"))
        self.assert_stops()
        self.assertEqual(len(self.benchmark.runs), 1)

    def test_without_work(self) -> None:
        """A monitor that waits for nothing stops too."""
        for monitor in (self.make(probe=False, benchmark=False, secured=False), self.make(benchmark=False)):
            self.monitor = monitor
            self.start()
            self.assert_stops()

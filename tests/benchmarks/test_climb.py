"""The climb in concurrency: which level it names, whether its figure is right, and how long it takes."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from benchmarks import climb, measure, openai_chat, tgi
from tests.benchmarks.modelled import Model, load, run
from vespa.benchmarking import contract
from vespa.benchmarking.contract import Figure

Curve = Callable[[int], float]

TWO_MINUTES = 120.0


def saturating(each: float, most: float) -> Curve:
    """`each` tokens a second for a stream of its own, `most` for all together."""
    return lambda streams: min(each * streams, most)


def flat(rate: float) -> Curve:
    return lambda streams: rate


def linear(each: float) -> Curve:
    return lambda streams: each * streams


def refusing(member: str) -> Callable[[dict[str, Any]], tuple[int, str] | None]:
    """A backend's refusal of requests that have this member."""
    return lambda sent: (400, "unknown field") if member in sent else None


def refuse(status: int, sent: dict[str, Any]) -> tuple[int, str]:
    return status, "Invalid API key"


class ClimbCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.environment = {"BENCHMARK_SEED": "1"}
        self.patch(os, "environ", self.environment)
        self.printed: list[str] = []
        self.patch(sys, "stdout", SimpleNamespace(write=self.printed.append, flush=lambda: None))
        self.patch(climb, "cpu_seconds", lambda: 0.0)
        measure.generator.cache_clear()
        self.addCleanup(measure.generator.cache_clear)

    def measured(self, model: Model, benchmark: Any = openai_chat.benchmark) -> tuple[Figure, float]:
        """The figure, and the seconds that it took."""
        return run(benchmark("http://backend", model))

    def fails(self, model: Model, benchmark: Any = openai_chat.benchmark) -> str:
        return str(self.assertRaises((RuntimeError, ValueError), self.measured, model, benchmark))

    def right(self, make: Callable[[], Model], tokens: int = 500, each: int = 4, **more: Any) -> Figure:
        """The figure, once it is within a fifth of an independent load at its level, and came within two minutes."""
        figure, seconds = self.measured(make(), **more)
        expected, _ = run(load(make(), figure.concurrency, tokens, each))
        self.assertLess(seconds, TWO_MINUTES)
        self.assertLess(abs(figure / expected - 1.0), 0.2, f"{float(figure)} for {expected} at {figure.concurrency}")
        return figure


class LevelTests(ClimbCase):
    slow = True

    def test_grows(self) -> None:
        """It climbs while throughput grows, and names the level at which it stopped."""
        figure = self.right(lambda: Model(saturating(110.0, 3500.0), first_token=0.1))
        self.assertEqual(figure.concurrency, 32)
        self.assertApproximates(figure, 3500.0, 350.0)
        self.assertIn("chosen: ", "".join(self.printed))
        self.assertIn("32 requests at once (64 at once gained less than 10%)", "".join(self.printed))

    def test_reports(self) -> None:
        """Each level is reported with its throughput and spread, and the share of the time only grows."""
        said: list[dict[str, Any]] = []
        contract.listen(said.append)
        self.addCleanup(contract.listen, None)
        figure, _ = self.measured(Model(saturating(110.0, 3500.0), first_token=0.1))
        levels = [contract.Level.checked(each["level"]) for each in said if "level" in each]
        self.assertEqual([level.concurrency for level in levels][:4], [4, 8, 16, 32])
        self.assertIn(float(figure), [level.throughput for level in levels])
        self.assertEqual({level.unit for level in levels}, {"tokens"})
        for level in levels:
            assert level.spread is not None
            self.assertLess(level.spread, 0.5)
        shares = [each["progress"] for each in said if "progress" in each]
        self.assertGreater(len(shares), 5)
        self.assertEqual(shares, sorted(shares))

    def test_flat(self) -> None:
        """A backend that does not batch is measured at the first level, and hardly longer."""
        model = Model(flat(80.0))
        figure = self.right(lambda: Model(flat(80.0)))
        self.measured(model)
        self.assertLess(model.most, 16)
        self.assertIn(figure.concurrency, (4, 8))

    def test_speeds(self) -> None:
        """From half a token a second to fifty thousand, growing or not, for one prompt or long ones."""
        for rate in (0.5, 2.0, 40.0, 1000.0, 50_000.0):
            for first_token in (0.0, 0.5, 3.0):
                make = lambda rate=rate, first=first_token: Model(flat(rate), first_token=first)  # noqa: E731
                self.right(make)
                make = lambda rate=rate, first=first_token: Model(  # noqa: E731
                    saturating(max(rate / 40, 0.5), rate), first_token=first
                )
                self.right(make)

    def test_slots(self) -> None:
        """Requests that wait for a slot add nothing, whenever a level is cut off."""
        for each in (1.0, 3.0, 12.0, 20.0, 30.0, 60.0, 200.0):
            figure = self.right(partial(Model, linear(each), slots=4), each=2)
            self.assertApproximates(figure, each * 4, each * 0.8)

    def test_long_prompts(self) -> None:
        """Prompts that keep the whole backend busy count as often as requests do, however short a level is cut."""
        for reading, each, most in ((0.05, 47.0, 3000.0), (0.2, 20.0, 800.0), (0.5, 6.0, 100.0)):
            make = lambda reading=reading, each=each, most=most: Model(saturating(each, most), reading=reading)  # noqa: E731
            figure = self.right(make)
            expected, _ = run(load(make(), figure.concurrency, 500, 8))
            self.assertLess(abs(figure / expected - 1.0), 0.1, (reading, each, most))

    def test_noisy(self) -> None:
        """Noise moves neither the figure nor the level far."""
        for seed in range(3):
            noise = random.Random(seed)
            figure = self.right(partial(Model, saturating(60.0, 900.0), noise=partial(noise.expovariate, 1.0)))
            self.assertIn(figure.concurrency, (8, 16, 32))
            self.assertApproximates(figure, 900.0, 180.0)

    def test_pause(self) -> None:
        """One pause of the backend's does not end the climb."""
        model = Model(saturating(50.0, 2000.0))
        paused = False

        def noise() -> float:
            nonlocal paused
            if model.active == 8 and not paused:
                paused = True
                return 2000.0
            return 1.0

        model.noise = noise
        figure, seconds = self.measured(model)
        self.assertTrue(paused)
        self.assertEqual(figure.concurrency, 64)
        self.assertLess(seconds, TWO_MINUTES)

    def test_bounds(self) -> None:
        """No more at once than the worker lets in, or than BENCHMARK_CONCURRENCY says; each is measured as it is."""
        for name, value, most in (
            ("BENCHMARK_CONCURRENCY", "10", 10),
            ("VESPA_MAX_CONCURRENCY", "6", 6),
            ("VESPA_MAX_CONCURRENCY", "3", 3),
            ("VESPA_ALLOW_PARALLEL", "false", 1),
            ("BENCHMARK_CONCURRENCY", "100", 100),
        ):
            self.environment[name] = value
            model = Model(lambda streams: 30.0 * streams)
            figure, seconds = self.measured(model)
            self.assertEqual((figure.concurrency, model.most), (most, most), name)
            self.assertApproximates(figure, 30.0 * most, 3.0 * most)
            self.assertLess(seconds, TWO_MINUTES)
            del self.environment[name]

    def test_levels(self) -> None:
        """Doubled from four, and the last one is the bound."""
        self.assertEqual(list(climb.levels(64)), [4, 8, 16, 32, 64])
        self.assertEqual(list(climb.levels(10)), [4, 8, 10])
        self.assertEqual([list(climb.levels(most)) for most in (1, 3, 4)], [[1], [3], [4]])

    def test_runs(self) -> None:
        """A level is over once each place has had its requests; fewer runs are sooner done."""
        self.environment["BENCHMARK_RUNS"] = "1"
        _, quick = self.measured(Model(saturating(100.0, 800.0)))
        self.environment["BENCHMARK_RUNS"] = "3"
        _, usual = self.measured(Model(saturating(100.0, 800.0)))
        self.assertLess(quick * 2, usual)

    def test_unusual_pieces(self) -> None:
        """Events of several tokens count as what the usage of ended requests says they are."""
        self.right(lambda: Model(saturating(40.0, 600.0), piece=5))


class CountTests(ClimbCase):
    def test_no_usage(self) -> None:
        """Where no usage is told, the pieces with text are the tokens."""
        self.environment.update(BENCHMARK_CONCURRENCY="4", BENCHMARK_MAX_TOKENS="20")
        figure = self.right(lambda: Model(saturating(20.0, 1000.0), usage=False), tokens=20)
        self.assertApproximates(figure, 80.0, 8.0)

    def test_total(self) -> None:
        """The prompt's tokens count where that is asked for."""
        self.environment.update(BENCHMARK_COUNT="total", BENCHMARK_CONCURRENCY="4")
        plain, _ = self.measured(Model(flat(200.0)))
        words = 250 + len("Write a long story in which all of these words occur:".split())
        self.assertApproximates(plain, 200.0 * (500 + words) / 500, 30.0)
        slow, _ = self.measured(Model(flat(2.0)))
        self.assertApproximates(slow, 2.0 * (500 + words) / 500, 0.3)
        self.environment["BENCHMARK_COUNT"] = "words"
        self.assertIn("BENCHMARK_COUNT", self.fails(Model(flat(1.0))))

    def test_whole_responses(self) -> None:
        """A backend that takes no streams, or not their options, is asked as it likes."""
        for refused in ("stream", "stream_options"):
            model = Model(saturating(50.0, 400.0))
            model.refuses = refusing(refused)
            figure, seconds = self.measured(model)
            self.assertApproximates(figure, 400.0, 60.0)
            self.assertLess(seconds, TWO_MINUTES)
            self.assertEqual([refused in sent for sent in model.sent].count(True), {"stream": 2}.get(refused, 1))

    def test_too_fast_to_read(self) -> None:
        """Where this process has no time left, whole responses are asked for."""
        model = Model(saturating(2000.0, 50_000.0))
        spent = iter(range(10**9))
        self.patch(climb, "cpu_seconds", lambda: float(next(spent) * 100) if model.streamed else 0.0)
        figure, _ = self.measured(model)
        self.assertNotIn("stream", model.sent[-1])
        self.assertApproximates(figure, 50_000.0, 10_000.0)

    def test_too_fast_and_no_whole_responses(self) -> None:
        """A backend that has no whole responses for us keeps the figure of its streams."""
        model = Model(saturating(100.0, 1000.0))
        model.refuses = lambda sent: None if sent.get("stream") else (404, "streams only")
        spent = iter(range(10**9))
        self.patch(climb, "cpu_seconds", lambda: float(next(spent) * 100) if model.streamed else 0.0)
        figure, seconds = self.measured(model)
        self.assertApproximates(figure, 1000.0, 150.0)
        self.assertLess(seconds, TWO_MINUTES)

    def test_tgi(self) -> None:
        """TGI's stream is counted the same way."""
        figure = self.right(lambda: Model(saturating(30.0, 500.0)), tokens=256, benchmark=tgi.benchmark)
        self.assertApproximates(figure, 500.0, 50.0)
        self.right(lambda: Model(flat(0.5)), tokens=256, benchmark=tgi.benchmark)


class FailureTests(ClimbCase):
    def test_never_answers(self) -> None:
        """A backend that never answers is an error, in bounded time."""
        model = Model(flat(1.0), first_token=1e6)
        self.assertIn("no response to the first request", self.fails(model))

    def test_still_loading(self) -> None:
        """A model that takes long to load has its two minutes all the same."""
        waits = iter([100.0])
        model = Model(saturating(10.0, 100.0))
        usual = model.list_models

        async def loading() -> Any:
            model.first_token = next(waits)
            return await usual()

        model.list_models = loading  # type: ignore[method-assign]
        curve = model.curve

        def loaded(streams: int) -> float:
            model.first_token = 0.0
            return curve(streams)

        model.curve = loaded
        figure, seconds = self.measured(model)
        self.assertLess(seconds, 100.0 + climb.AFTER_FIRST_TOKEN + 1.0)
        self.assertApproximates(figure, 100.0, 15.0)

    def test_fails_at_first(self) -> None:
        """What the first request fails with is the error."""
        model = Model(flat(10.0))
        model.refuses = lambda sent: (503, "no workers")
        self.assertIn("answered 503: no workers", self.fails(model))

    def test_fails_above(self) -> None:
        """Levels that are refused end the climb; those below them stand."""
        model = Model(lambda streams: 20.0 * streams)
        model.refuses = lambda sent: (429, "too many") if model.active >= 16 else None
        figure, seconds = self.measured(model)
        self.assertIn(figure.concurrency, (16, 32))
        self.assertApproximates(figure, 320.0, 64.0)
        self.assertLess(seconds, TWO_MINUTES)

    def test_fails_later(self) -> None:
        """A backend that fails after the first request has no figure."""
        model = Model(flat(10.0))
        model.refuses = lambda sent: (500, "died") if len(model.sent) > 1 else None
        self.assertIn("died", self.fails(model))

    def test_hangs_above(self) -> None:
        """A level at which nothing comes any more ends with the time, and those below it stand."""
        model = Model(lambda streams: 20.0 * streams if streams <= 8 else 1e-9)
        figure, seconds = self.measured(model)
        self.assertEqual(figure.concurrency, 8)
        self.assertLess(seconds, TWO_MINUTES)

    def test_error_in_stream(self) -> None:
        """An error event is an error."""
        model = Model(flat(10.0))

        async def events(*given: Any) -> Any:
            yield b'data: {"error": {"message": "EngineCore died", "code": 500}}\n\n'

        model.events = events  # type: ignore[method-assign,assignment]
        self.assertIn("EngineCore died", self.fails(model))

    def test_no_text(self) -> None:
        """Answers without a token are an error, never a figure."""
        self.environment["BENCHMARK_MAX_TOKENS"] = "1"
        model = Model(flat(10.0), usage=False)

        async def events(*given: Any) -> Any:
            yield b"data: [DONE]\n\n"

        model.events = events  # type: ignore[method-assign,assignment]
        self.assertIn("no tokens", self.fails(model))


class RefusalTests(ClimbCase):
    def test_small_context(self) -> None:
        """A request that is too long is halved until it fits; the figure is of what did fit."""
        for context in (700, 300, 64):
            model = Model(saturating(50.0, 400.0))
            model.context = context
            figure, _ = self.measured(model)
            self.assertApproximates(figure, 400.0, 60.0)
            self.assertIn("the model's context is small", "".join(self.printed))

    def test_too_small(self) -> None:
        """What the environment sets is not changed: the variables are named."""
        self.environment.update(BENCHMARK_PROMPT_WORDS="250", BENCHMARK_MAX_TOKENS="500")
        model = Model(flat(10.0))
        model.context = 300
        error = self.fails(model)
        self.assertIn("BENCHMARK_PROMPT_WORDS", error)
        self.assertIn("exceeds the available context size", error)

    def test_tgi_context(self) -> None:
        """TGI's validation error is one of these."""
        model = Model(flat(50.0))
        model.refuses = lambda sent: (
            (422, '{"error":"Input validation error: `inputs` tokens + `max_new_tokens` must be <= 300"}')
            if len(sent["inputs"].split()) > 100
            else None
        )
        self.assertApproximates(self.measured(model, tgi.benchmark)[0], 50.0, 10.0)

    def test_key(self) -> None:
        """A backend that wants a key: the setting is named, wherever the refusal comes."""
        for status in (401, 403):
            model = Model(flat(10.0))
            model.models = (status, {"error": "Unauthorized"})
            self.assertIn("VESPA_BACKEND_AUTHORIZATION", self.fails(model))
            model = Model(flat(10.0))
            model.refuses = partial(refuse, status)
            for benchmark in (openai_chat.benchmark, tgi.benchmark):
                error = self.fails(model, benchmark)
                self.assertIn("VESPA_BACKEND_AUTHORIZATION", error)
                self.assertIn("Invalid API key", error)

    def test_no_models(self) -> None:
        """Without /v1/models the model is not named; a backend that wants it named has MODEL_NAME named."""
        model = Model(flat(10.0))
        model.models = (404, {})
        self.measured(model)
        self.assertNotIn("model", model.sent[0])
        model.refuses = lambda sent: (422, "field required: model") if "model" not in sent else None
        self.assertIn("MODEL_NAME", self.fails(model))
        self.environment["MODEL_NAME"] = "tiny"
        self.measured(model)
        model.models = (200, {"data": []})
        del self.environment["MODEL_NAME"]
        self.assertIn("MODEL_NAME", self.fails(model))

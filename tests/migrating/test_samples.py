"""The requests of benchmarks, made by functions that may do anything."""

from __future__ import annotations

import itertools
import math
from types import SimpleNamespace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from vespa.migrating.messages import Benchmark
from vespa.migrating.official_classes import BenchmarkConfig, HandlerConfig
from vespa.migrating.samples import MOST_REQUESTS, Maker, NoRequest, effect_of_parser, maker, take


def taken(made: Maker, parallel: bool = True, **benchmark: Any) -> Benchmark:
    found = Benchmark(**{"runs": 2, "concurrency": 3, "warmup": True, **benchmark})
    take(found, parallel, made)
    return found


def config(calculator: Any = None, **benchmark: Any) -> HandlerConfig:
    return HandlerConfig("/a", benchmark_config=BenchmarkConfig(**benchmark), workload_calculator=calculator)


class TakeTests(SynchronousTestCase):
    def test_as_many_as_are_sent(self) -> None:
        """A generator is called as often as a benchmark sends requests: the rounds and the warm-up."""
        numbers = itertools.count()
        made = maker(config(generator=lambda: {"n": next(numbers)}))
        self.assertEqual(len(taken(made).requests), 7)
        self.assertEqual(len(taken(made, parallel=False, warmup=False).requests), 2)
        many = taken(made, runs=10**6)
        self.assertEqual((len(many.requests), many.cut), (MOST_REQUESTS, 0))

    def test_same(self) -> None:
        """A generator of equal requests is called a few times, and its request kept once."""
        calls = itertools.count()
        found = taken(maker(config(generator=lambda: next(calls) and {} or {})), runs=100)
        self.assertEqual((found.requests, next(calls)), ([("{}", 100.0)], 8))

    def test_data_set(self) -> None:
        """A data set is taken whole, in its order, before a generator; what is too much is counted."""
        rows = [{"n": number} for number in range(MOST_REQUESTS + 5)]
        found = taken(maker(config(dataset=rows, generator=dict)))
        self.assertEqual((found.source, len(found.requests), found.cut), ("data set", MOST_REQUESTS, 5))
        self.assertEqual(found.requests[1][0], '{"n": 1}')

    def test_no_list(self) -> None:
        """A data set that is no list is read as far as requests are kept: it may have no end."""
        endless: Any = ({"n": number} for number in itertools.count())
        self.assertEqual(len(taken(maker(config(dataset=endless))).requests), MOST_REQUESTS)

    def test_not_json(self) -> None:
        """What JSON cannot express is said with its number."""
        loop: dict[str, Any] = {}
        loop["loop"] = loop
        for value in (b"x", {1, 2}, math.nan, loop, object()):
            made = maker(config(dataset=[{"a": 1}, {"a": value}]))
            self.assertIn("request 2 cannot be sent as JSON", str(self.assertRaises(NoRequest, taken, made)))

    def test_nothing(self) -> None:
        """A configuration without requests, and a function in place of a backend."""
        self.assertIn("neither", str(self.assertRaises(NoRequest, maker, config())))
        remote = HandlerConfig("/a", remote_function=print, benchmark_config=BenchmarkConfig(generator=dict))
        self.assertIn("Python function", str(self.assertRaises(NoRequest, maker, remote)))

    def test_forms(self) -> None:
        """A payload that is sent as a form has no JSON."""
        payload = SimpleNamespace(generate_payload_multipart=lambda: {"file": b"x"})
        own = HandlerConfig("/a", payload_class=SimpleNamespace(for_test=lambda: payload))
        self.assertIn("multipart", str(self.assertRaises(NoRequest, taken, maker(own))))


class WorkTests(SynchronousTestCase):
    def test_calculator(self) -> None:
        """The official rules: without a calculator, or where it fails or gives nonsense, a request counts 100."""
        for calculator, work in (
            (None, 100.0),
            (lambda request: request["n"], 3.0),
            (lambda request: "4.5", 4.5),
            (lambda request: 0, 0.0),
            (lambda request: -1, 100.0),
            (lambda request: math.inf, 100.0),
            (lambda request: request["missing"], 100.0),
            (lambda: 1, 100.0),
        ):
            self.assertEqual(taken(maker(config(calculator, dataset=[{"n": 3}]))).requests[0][1], work)


class ParserTests(SynchronousTestCase):
    def test_effects(self) -> None:
        """The common parsers are known by what they do, whatever their text."""

        def unwrap(request: Any) -> Any:
            return request["input"] if request.get("input") is not None else request

        def refuse(request: Any) -> Any:
            raise ValueError("no")

        for parser, request, effect in (
            (unwrap, '{"prompt": "x"}', "input"),
            (unwrap, '{"input": {"prompt": "x"}}', "input"),
            (lambda request: request, "{}", "nothing"),
            (lambda request: {**request, "n": 1}, "{}", "other"),
            (refuse, "{}", "other"),
        ):
            self.assertEqual(effect_of_parser(parser, request), effect)

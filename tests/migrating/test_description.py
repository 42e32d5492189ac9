"""Descriptions of configurations whose fields have whatever a file puts there."""

from __future__ import annotations

import itertools
import json
import math
import sys
from functools import partial
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.migrating.found import benchmark_of
from vespa.migrating.checked_json import read
from vespa.migrating.description import (
    LONGEST_TEXT,
    MOST_ITEMS,
    MOST_SEEN,
    add_requests,
    describe,
    name_of,
    number,
    text,
    without_requests,
)
from vespa.migrating.messages import Answer, End, Patterns, write
from vespa.migrating.official_classes import BenchmarkConfig, HandlerConfig, LogActionConfig, WorkerConfig


class Unspeakable:
    def __str__(self) -> str:
        raise RuntimeError


class ValueTests(SynchronousTestCase):
    def test_text(self) -> None:
        """Text of bounded length, of anything."""
        self.assertEqual([text(each) for each in (None, "a", 1, Unspeakable())], ["", "a", "1", "<Unspeakable>"])
        self.assertEqual(len(text("x" * 10**6)), LONGEST_TEXT)

    def test_number(self) -> None:
        """Numbers stay; no limit is None; everything else is text, which is told from them."""
        values = (1, 2.5, None, math.inf, "10", math.nan, True, 10**20, -math.inf)
        expected = [1, 2.5, None, None, "10", "nan", "True", "1" + 20 * "0", "-inf"]
        self.assertEqual([number(each) for each in values], expected)
        self.assertIsInstance(number(10**10000), str)

    def test_names(self) -> None:
        """Functions, classes, and objects that can be called."""
        self.assertEqual(name_of(None), "")
        self.assertEqual(name_of(lambda: 1), "a lambda")
        self.assertEqual(name_of(json.dumps), "dumps")
        self.assertEqual(name_of(partial(print)), "partial")


class DescribeTests(SynchronousTestCase):
    def test_defaults(self) -> None:
        """The official defaults."""
        found, origins = describe(
            WorkerConfig("http://h", 80, handlers=[HandlerConfig("/a", benchmark_config=BenchmarkConfig())])
        )
        self.assertEqual((found.backend_url, found.max_sessions, found.left_out), ("http://h:80", 10, 0))
        [handler] = found.handlers
        self.assertEqual((handler.parallel, handler.max_queue_time, handler.remote), (False, 30.0, False))
        rounds = benchmark_of(handler)
        self.assertEqual((rounds.runs, rounds.concurrency, rounds.warmup), (8, 10, True))

    def test_empty(self) -> None:
        """A configuration with nothing in it."""
        found, origins = describe(WorkerConfig())
        self.assertEqual((found.backend_url, found.handlers, found.healthcheck_url), ("", [], ""))

    def test_warmup(self) -> None:
        """As in Vast's own worker, `do_warmup` is read only if a concurrency is set."""
        for concurrency, warmup in ((1, False), (None, True), (0, True)):
            benchmark: Any = BenchmarkConfig(concurrency=concurrency, do_warmup=False)
            found, _ = describe(WorkerConfig(handlers=[HandlerConfig("/a", benchmark_config=benchmark)]))
            self.assertEqual(benchmark_of(found.handlers[0]).warmup, warmup)

    def test_strange(self) -> None:
        """Values of other types, and more of everything than there should be, give a description of bounded size."""
        logs: Any = LogActionConfig(on_load="one text", on_error=None, on_info=(1, 2))  # type: ignore[arg-type]
        handlers: Any = (HandlerConfig(f"/{each}") for each in range(MOST_ITEMS + 7))
        found, origins = describe(WorkerConfig(Unspeakable(), "x" * 10**6, handlers=handlers, log_action_config=logs))
        self.assertEqual(found.patterns, Patterns(["one text"], [], ["1", "2"]))
        self.assertEqual((len(found.handlers), found.left_out), (MOST_ITEMS, 7))
        self.assertLess(len(write(Answer(End("served"), found=without_requests(found, "")))), 200_000)
        endless: Any = (HandlerConfig(f"/{each}") for each in itertools.count())
        self.assertEqual(describe(WorkerConfig(handlers=endless))[0].left_out, MOST_SEEN - MOST_ITEMS)
        bad: Any = WorkerConfig(handlers=None, log_action_config=None)  # type: ignore[arg-type]
        self.assertEqual(describe(bad)[0].handlers, [])


class RequestsTests(SynchronousTestCase):
    def test_errors(self) -> None:
        """A generator that raises gives the error of its benchmark; of several benchmarks the first one is read."""

        def fail() -> dict[str, Any]:
            raise ValueError("no model is set")

        handlers = [
            HandlerConfig("/a", benchmark_config=BenchmarkConfig(generator=fail)),
            HandlerConfig("/b", benchmark_config=BenchmarkConfig(dataset=[{"a": 1}])),
            HandlerConfig("/c"),
        ]
        found, origins = describe(WorkerConfig(handlers=handlers[:1]))
        add_requests(found, origins)
        self.assertEqual(benchmark_of(found.handlers[0]).error, "it raised ValueError: no model is set")
        del handlers[0]
        handlers.insert(1, HandlerConfig("/a", benchmark_config=BenchmarkConfig(generator=fail)))
        found, origins = describe(WorkerConfig(handlers=handlers))
        quick = without_requests(found, "too slow")
        self.assertEqual([each.benchmark and each.benchmark.error for each in quick.handlers],
                         ["too slow", "too slow", None])  # fmt: skip
        write(Answer(End("served"), found=quick))
        add_requests(found, origins)
        first, second, _ = found.handlers
        self.assertEqual(benchmark_of(first).requests, [('{"a": 1}', 100.0)])
        self.assertEqual(benchmark_of(second).error, "the first benchmark is read alone")
        answer = Answer(End("served"), found=found)
        self.assertEqual(read(Answer, write(answer).encode()), answer)

    def test_missing_variable(self) -> None:
        """A generator that misses a variable of the template is told from other errors, with what to do."""
        for key, is_told in (("MODEL_NAME", True), ("prompt", False)):
            values: dict[str, dict[str, Any]] = {}
            config: Any = BenchmarkConfig(generator=partial(values.__getitem__, key))
            found, origins = describe(WorkerConfig(handlers=[HandlerConfig("/a", benchmark_config=config)]))
            add_requests(found, origins)
            error = benchmark_of(found.handlers[0]).error
            self.assertIn(f"it raised KeyError: '{key}'", error)
            self.assertEqual("with the variables that the template sets" in error, is_told)

    def test_exit(self) -> None:
        """A generator that calls sys.exit gives the benchmark's error, and does not end the process."""
        config: Any = BenchmarkConfig(generator=sys.exit)
        found, origins = describe(WorkerConfig(handlers=[HandlerConfig("/a", benchmark_config=config)]))
        add_requests(found, origins)
        self.assertIn("it raised SystemExit", benchmark_of(found.handlers[0]).error)

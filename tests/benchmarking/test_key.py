"""The facts on which a stored result depends."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.logs import observe_log
from vespa.benchmarking.cache import BenchmarkCache
from vespa.benchmarking.key import CacheKey, cache_key

SPEC = "benchmarks.openai_chat:benchmark"
BACKEND = "http://127.0.0.1:18000"
KEY = cache_key(SPEC, BACKEND, {"MODEL_NAME": "tiny", "BENCHMARK_RUNS": "2", "PATH": "/bin"})


class KeyTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.path = self.folder / ".has_benchmark"
        self.cache = BenchmarkCache(str(self.path), KEY)
        self.events: list[dict[str, Any]] = []
        observe_log(self, self.events.append)

    def test_variables(self) -> None:
        """Every variable that shapes a figure is a part of the key, and a change of it is named."""
        for name, value in (
            ("MODEL_NAME", "big"),
            ("BENCHMARK_RUNS", "3"),
            ("BENCHMARK_MAX_TOKENS", "7"),
            ("BENCHMARK_OF_MY_OWN", "secret"),
            ("VESPA_MAX_CONCURRENCY", "4"),
            ("VESPA_ALLOW_PARALLEL", "false"),
            ("VESPA_CONNECTION_LIMIT", "4"),
            ("VESPA_CONNECTION_LIMIT_PER_HOST", "4"),
        ):
            self.cache.save(1.0)
            key = cache_key(SPEC, BACKEND, {"MODEL_NAME": "tiny", "BENCHMARK_RUNS": "2", name: value})
            changed = BenchmarkCache(str(self.path), key)
            self.events.clear()
            self.assertIsNone(changed.load())
            self.assertIn(f"other variables: {name}", self.events[0]["reason"])
            changed.save(2.0)
            self.assertEqual(changed.load(), 2.0)
            self.assertNotIn("secret", self.path.read_text())
        same = cache_key(
            SPEC, BACKEND, {"MODEL_NAME": " tiny ", "BENCHMARK_RUNS": "2", "BENCHMARK_SEED": "", "HOME": "/"}
        )
        self.assertEqual(same, KEY)

    def test_files(self) -> None:
        """A workflow's content, and a benchmark file's, are a part of the key."""
        file, workflow = self.folder / "mine.py", self.folder / "flow.json"
        for changed, spec, environment in (
            (file, f"{file}:benchmark", {}),
            (workflow, "benchmarks.comfyui:benchmark", {"VESPA_COMFYUI_BENCHMARK_FILE": str(workflow)}),
            (workflow, "benchmarks.comfyui:benchmark", {"BENCHMARK_JSON_PATH": str(workflow)}),
        ):
            keys = []
            for content in ("1", "2", "2", None):
                changed.unlink() if content is None else changed.write_text(content)
                keys.append(cache_key(spec, BACKEND, environment))
            self.assertNotEqual(keys[0], keys[1])
            self.assertEqual(keys[1], keys[2])
            self.assertNotEqual(keys[2], keys[3])
        os.mkfifo(file)
        self.assertEqual(cache_key(f"{file}:f", BACKEND, {}).files, {str(file): "unreadable"})
        self.assertIsInstance(cache_key("a:b", BACKEND, {"BENCHMARK_X": "\udcff"}), CacheKey)

"""The benchmark cache: what it keeps, and everything that it refuses to take for a result."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.logger import LogLevel, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from tests.logs import observe_log
from tests.seeds import examples
from vespa.benchmarking.cache import BenchmarkCache
from vespa.benchmarking.contract import Figure
from vespa.benchmarking.key import cache_key

SPEC = "benchmarks.openai_chat:benchmark"
BACKEND = "http://127.0.0.1:18000"
KEY = cache_key(SPEC, BACKEND, {"MODEL_NAME": "tiny", "BENCHMARK_RUNS": "2", "PATH": "/bin"})


class CacheTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.path = self.folder / ".has_benchmark"
        self.cache = BenchmarkCache(str(self.path), KEY)
        self.events: list[dict[str, Any]] = []
        observe_log(self, self.events.append)

    def refused_because(self, reason: str) -> None:
        """The cache gives nothing, and says so in exactly one line that names the reason."""
        self.events.clear()
        self.assertIsNone(self.cache.load())
        [event] = self.events
        self.assertIn(reason, event.get("reason", event["log_format"]))

    def test_kept(self) -> None:
        """A stored result is loaded unchanged."""
        self.cache.save(1234.5678901234567)
        self.assertEqual(self.cache.load(), 1234.5678901234567)

    def test_replaced(self) -> None:
        """The last result stored is the one loaded, and nothing else is left in the folder."""
        self.cache.save(1.0)
        self.cache.save(2.0)
        self.assertEqual(self.cache.load(), 2.0)
        self.assertEqual(os.listdir(self.folder), [".has_benchmark"])

    def test_missing(self) -> None:
        """No file is no result, and no cause for alarm."""
        self.refused_because("yet")
        self.assertEqual(self.events[0]["log_level"], LogLevel.info)

    def test_another_key(self) -> None:
        """A result of another benchmark or backend is not this one's."""
        for other in (evolve(KEY, benchmark="b:c"), evolve(KEY, backend="http://other")):
            BenchmarkCache(str(self.path), other).save(3.0)
            self.refused_because("another")

    def test_level_kept(self) -> None:
        """What a figure says of itself is kept with it, and its level is told when it is taken."""
        self.cache.save(Figure(5.0, 32, '{"id": "tiny"}'))
        figure = self.cache.load()
        assert figure is not None
        self.assertEqual((figure, figure.concurrency, figure.served), (5.0, 32, '{"id": "tiny"}'))
        self.assertEqual(json.loads(self.path.read_text())["concurrency"], 32)
        self.assertIn("at 32 requests at once", formatEvent(self.events[-1]))

    def test_older_format(self) -> None:
        """A file of an older version is ignored, and the benchmark runs again."""
        older = {"benchmark": SPEC, "backend": BACKEND, "model": "tiny", "throughput": 5.0}
        self.path.write_text(json.dumps(older))
        self.refused_because("form")

    def test_not_a_result(self) -> None:
        """Only a finite number above zero is a result."""
        self.cache.save(1.0)
        fields = {name: value for name, value in json.loads(self.path.read_text()).items() if name != "throughput"}
        for value in ("NaN", "Infinity", "-Infinity", "0", "-1", "true", '"5"', "null", "[1]", "1" + "0" * 400):
            self.path.write_text(json.dumps(fields)[:-1] + f', "throughput": {value}}}')
            self.refused_because("")
        self.path.write_text(json.dumps({**fields, "throughput": 2.0, "concurrency": "x", "served": 5}))
        self.assertEqual(self.cache.load(), 2.0)

    def test_not_ours(self) -> None:
        """A file of some other content, the first Vespa's bare number among them, is not taken for a result."""
        for content in (b"123.4", b"[]", b"null"):
            self.path.write_bytes(content)
            self.refused_because("form")
        for content in (b"", b"{", b"\xff\xfe\x00", b"[" * 60000, b" " * 70000, b"9" * 5000):
            self.path.write_bytes(content)
            self.refused_because("")

    def test_not_a_file(self) -> None:
        """A folder, a named pipe, a link to nowhere or a loop of links is not read, and nothing hangs."""
        self.path.mkdir()
        self.refused_because("directory")
        self.path.rmdir()
        os.mkfifo(self.path)
        self.refused_because("not a regular file")
        self.path.unlink()
        self.path.symlink_to(self.folder / "nowhere")
        self.refused_because("yet")
        self.path.unlink()
        self.path.symlink_to(self.path.name)
        self.refused_because("symbolic links")

    def test_unwritable(self) -> None:
        """A result that cannot be kept is logged; the worker goes on."""
        BenchmarkCache(str(self.folder / "missing" / "file"), KEY).save(5.0)
        [event] = self.events
        self.assertEqual(event["log_level"], LogLevel.warn)
        self.path.mkdir()
        self.cache.save(5.0)
        self.assertEqual(os.listdir(self.folder), [".has_benchmark"])

    def test_link_replaced(self) -> None:
        """A link to nowhere is replaced by the file."""
        self.path.symlink_to(self.folder / "nowhere")
        self.cache.save(6.0)
        self.assertEqual(self.cache.load(), 6.0)
        self.assertFalse(self.path.is_symlink())

    def test_off(self) -> None:
        """An empty path, or /dev/null, keeps nothing and says nothing."""
        for path in ("", os.devnull):
            off = BenchmarkCache(path, KEY)
            off.save(7.0)
            self.assertIsNone(off.load())
        self.assertEqual(self.events, [])

    def test_not_replaced(self) -> None:
        """A path that is not a regular file is not replaced."""
        os.mkfifo(self.path)
        self.cache.save(7.0)
        self.assertTrue(self.path.is_fifo())
        self.assertEqual(len(self.events), 1)

    @settings(max_examples=examples(50))
    @given(st.binary(max_size=200))
    def test_anything(self, content: bytes) -> None:
        """An invalid file of any content loads as None, without an error."""
        self.path.write_bytes(content)
        self.assertIsNone(self.cache.load())

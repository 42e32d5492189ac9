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


class TogetherTests(SynchronousTestCase):
    """One file for several backends."""

    def setUp(self) -> None:
        folder = Path(self.mktemp())
        folder.mkdir()
        self.path = folder / ".has_benchmark"
        self.urls = [BACKEND, "http://127.0.0.1:18001", "http://127.0.0.1:18002"]

    def of(self, url: str, together: Any = None, **more: Any) -> BenchmarkCache:
        """The cache of one of them."""
        return BenchmarkCache(
            str(self.path), evolve(KEY, backend=url, **more), self.urls if together is None else together
        )

    def test_each(self) -> None:
        """Each backend has its result, in whichever order they are stored, and again."""
        for number, url in enumerate(self.urls):
            self.of(url).save(Figure(float(number + 1), number, "m"))
        self.of(self.urls[1]).save(9.0)
        self.assertEqual([self.of(url).load() for url in self.urls], [1.0, 9.0, 3.0])
        first = self.of(self.urls[0]).load()
        assert first is not None
        self.assertEqual((first.concurrency, first.served), (0, "m"))

    def test_file_of_one(self) -> None:
        """The file of a single backend is taken for it when others come, and the other way round."""
        self.of(BACKEND, ()).save(5.0)
        self.assertEqual(self.of(BACKEND).load(), 5.0)
        self.assertIsNone(self.of(self.urls[1]).load())
        self.of(self.urls[1]).save(6.0)
        self.assertEqual((self.of(BACKEND, ()).load(), self.of(self.urls[1], ()).load()), (5.0, 6.0))

    def test_one_writes_as_before(self) -> None:
        """The file of a single backend has no other members than before."""
        self.of(BACKEND, [BACKEND]).save(5.0)
        self.assertNotIn("others", json.loads(self.path.read_text()))

    def test_what_fits(self) -> None:
        """Results of backends that are no longer named, or of other settings, are dropped, so the file stays small."""
        self.of(self.urls[0]).save(1.0)
        self.of(self.urls[1]).save(2.0)
        self.of(self.urls[2], self.urls[1:]).save(3.0)
        self.assertEqual([self.of(url).load() for url in self.urls], [None, 2.0, 3.0])
        self.of(self.urls[2], variables={"MODEL_NAME": "other"}).save(4.0)
        self.assertEqual([self.of(url).load() for url in self.urls], [None, None, None])
        self.assertEqual(json.loads(self.path.read_text())["others"], [])

    @given(st.recursive(st.none() | st.integers() | st.text(max_size=3), lambda inner: st.lists(inner, max_size=3)))
    def test_any_others(self, others: object) -> None:
        """Whatever stands in the place of the others is no error, and is gone with the next result."""
        self.of(BACKEND).save(1.0)
        record = json.loads(self.path.read_text())
        self.path.write_text(json.dumps({**record, "others": others}))
        self.assertEqual((self.of(BACKEND).load(), self.of(self.urls[1]).load()), (1.0, None))
        self.of(self.urls[1]).save(2.0)
        self.assertEqual([self.of(url).load() for url in self.urls[:2]], [1.0, 2.0])

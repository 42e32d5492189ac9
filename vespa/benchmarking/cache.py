"""The benchmark's result in a file, so that a worker that starts again need not measure again."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping

from attrs import asdict, frozen
from twisted.logger import Logger

from vespa.benchmarking.contract import Figure, throughput
from vespa.benchmarking.key import CacheKey
from vespa.runtime.files import read_file, replace_file

_FORMAT = 2
_LARGEST = 65536  # bytes; ours are a few hundred, and anything may be at that path
_NO_CACHE = ("", os.devnull)

_log = Logger()


@frozen
class BenchmarkCache:
    """One file that holds one result. With "" or /dev/null as its path, nothing is kept."""

    path: str
    key: CacheKey

    def load(self) -> Figure | None:
        """The kept result in units of work per second. Without one it returns None, and logs why in one line."""
        path = self.path
        if path in _NO_CACHE:
            return None
        try:
            content = read_file(path, _LARGEST + 1)
            if len(content) > _LARGEST:
                raise ValueError("too large")
            result = self._result(json.loads(content))
        except FileNotFoundError:
            _log.info("no benchmark result in {path} yet: the benchmark will run", path=path)
            return None
        except (OSError, ValueError, RecursionError) as error:
            reason = str(error) or type(error).__name__
            _log.warn("benchmark cache {path} ignored ({reason}), the benchmark will run", path=path, reason=reason)
            return None
        at_once = f" at {result.concurrency} requests at once" if result.concurrency else ""
        _log.info("benchmark result {result}{at_once} taken from {path}", result=result, at_once=at_once, path=path)
        return result

    def _result(self, kept: object) -> Figure:
        """The result in the file's content. Raises ValueError if there is none, or it is that of another key."""
        if not isinstance(kept, Mapping) or kept.get("format") != _FORMAT:
            raise ValueError("not in the form that this version writes")
        for name, wanted in asdict(self.key).items():
            found = kept.get(name)
            if found != wanted:
                raise ValueError(f"the result of {_difference(name, found, wanted)}")
        return Figure.checked(kept.get("throughput"), kept.get("concurrency"), kept.get("served"))

    def save(self, result: float) -> None:
        """Write `result` to the file. If that fails, it is logged, and nothing is raised."""
        if self.path in _NO_CACHE:
            return
        record = {
            "format": _FORMAT,
            **asdict(self.key),
            "throughput": throughput(result),
            "concurrency": getattr(result, "concurrency", 0),
            "served": getattr(result, "served", ""),
        }
        try:
            replace_file(self.path, json.dumps(record, indent=1).encode() + b"\n")
        except OSError as error:
            _log.warn("the benchmark result cannot be kept in {path}: {error}", path=self.path, error=str(error))


def _difference(name: str, found: object, wanted: object) -> str:
    """Which part of a key differs, in words."""
    if isinstance(found, Mapping) and isinstance(wanted, Mapping):
        changed = sorted(str(each) for each in {*found, *wanted} if found.get(each) != wanted.get(each))
        return f"other {name}: {', '.join(changed)}"[:300]
    return f"another {name}"

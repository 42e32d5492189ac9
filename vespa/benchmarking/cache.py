"""The benchmark's result in a file, so that a worker that starts again need not measure again."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping, Sequence
from typing import Any

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
    """
    One file that holds the result of a benchmark. With "" or /dev/null as its path, nothing is kept.

    `together`: the URLs of several backends that share the file. It then holds a result of each: that which was
    measured last as the file of one backend has it, and the others in its member `others`.
    """

    path: str
    key: CacheKey
    together: Collection[str] = ()

    def load(self) -> Figure | None:
        """The kept result in units of work per second. Without one it returns None, and logs why in one line."""
        path = self.path
        if path in _NO_CACHE:
            return None
        try:
            result = self._result(self._read())
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

    def _read(self) -> list[Mapping[str, Any]]:
        """The records in the file, of which there is at least one. Raises ValueError and OSError."""
        most = _LARGEST * max(1, len(self.together))
        content = read_file(self.path, most + 1)
        if len(content) > most:
            raise ValueError("too large")
        kept = json.loads(content)
        if not isinstance(kept, Mapping) or kept.get("format") != _FORMAT:
            raise ValueError("not in the form that this version writes")
        others = kept.get("others")
        return [kept, *(each for each in (others if isinstance(others, list) else []) if isinstance(each, Mapping))]

    def _result(self, records: Sequence[Mapping[str, Any]]) -> Figure:
        """The result in the file's records. Raises ValueError if there is none, or only those of other keys."""
        own = asdict(self.key)
        kept = next((each for each in records if each.items() >= own.items()), records[0])
        for name, wanted in own.items():
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
        if len(self.together) > 1:
            record["others"] = self._others()
        try:
            replace_file(self.path, json.dumps(record, indent=1).encode() + b"\n")
        except OSError as error:
            _log.warn("the benchmark result cannot be kept in {path}: {error}", path=self.path, error=str(error))

    def _others(self) -> list[Mapping[str, Any]]:
        """The records of the other backends, as far as they fit."""
        try:
            records = self._read()
        except (OSError, ValueError, RecursionError):
            return []
        found = {}
        for each in records:
            record = {name: value for name, value in each.items() if name not in ("format", "others")}
            backend = record.get("backend")
            key = {**asdict(self.key), "backend": backend}
            if backend != self.key.backend and backend in self.together and record.items() >= key.items():
                found[backend] = record
        return list(found.values())


def _difference(name: str, found: object, wanted: object) -> str:
    """Which part of a key differs, in words."""
    if isinstance(found, Mapping) and isinstance(wanted, Mapping):
        changed = sorted(str(each) for each in {*found, *wanted} if found.get(each) != wanted.get(each))
        return f"other {name}: {', '.join(changed)}"[:300]
    return f"another {name}"

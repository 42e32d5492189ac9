"""The benchmark's result, kept in a file so that a worker that is woken again need not measure again."""

from __future__ import annotations

import json
import os
import stat
import tempfile
from collections.abc import Mapping

from attrs import asdict, frozen
from twisted.logger import Logger

from vespa.benchmarking.contract import Figure, throughput
from vespa.benchmarking.key import CacheKey

_FORMAT = 2
_LARGEST = 65536  # bytes; ours are a few hundred, and anything may be at that path
_NO_CACHE = ("", os.devnull)
# Each system has some of them. Windows would take a text for what is to be read otherwise.
_READING = os.O_RDONLY
for _name in ("O_NONBLOCK", "O_CLOEXEC", "O_BINARY"):
    _READING |= getattr(os, _name, 0)

_log = Logger()


@frozen
class BenchmarkCache:
    """One file with one result in it; no path, or /dev/null, is no cache."""

    path: str
    key: CacheKey

    def load(self) -> Figure | None:
        """The kept result in units of work per second, or None, with one log line saying why there is none."""
        if self.path in _NO_CACHE:
            return None
        try:
            result = self._result(_read(self.path))
        except FileNotFoundError:
            _log.info("no benchmark result in {path} yet: the benchmark will run", path=self.path)
            return None
        except (OSError, ValueError, RecursionError) as error:
            reason = str(error) or type(error).__name__
            _log.warn(
                "benchmark cache {path} ignored ({reason}), the benchmark will run", path=self.path, reason=reason
            )
            return None
        at_once = f" at {result.concurrency} requests at once" if result.concurrency else ""
        _log.info(
            "benchmark result {result}{at_once} taken from {path}", result=result, at_once=at_once, path=self.path
        )
        return result

    def _result(self, kept: object) -> Figure:
        """The result in what the file holds; ValueError where it holds none, or another's."""
        if not isinstance(kept, Mapping) or kept.get("format") != _FORMAT:
            raise ValueError("not in the form that this version writes")
        for name, wanted in asdict(self.key).items():
            found = kept.get(name)
            if found != wanted:
                raise ValueError(f"the result of {_difference(name, found, wanted)}")
        at_once, served = kept.get("concurrency"), kept.get("served")
        return Figure(
            throughput(kept.get("throughput")),
            at_once if type(at_once) is int and at_once > 0 else 0,
            served if isinstance(served, str) else "",
        )

    def save(self, result: float) -> None:
        """Keep `result`; a file that cannot be written is logged and otherwise of no consequence."""
        if self.path in _NO_CACHE:
            return
        record = {
            "format": _FORMAT,
            **asdict(self.key),
            "throughput": throughput(result),
            "concurrency": getattr(result, "concurrency", 0),
            "served": getattr(result, "served", ""),
        }
        body = json.dumps(record, indent=1) + "\n"
        try:
            _replace(self.path, body.encode())
        except OSError as error:
            _log.warn("the benchmark result cannot be kept in {path}: {error}", path=self.path, error=str(error))


def _difference(name: str, found: object, wanted: object) -> str:
    """What of a key is another's, in words."""
    if isinstance(found, Mapping) and isinstance(wanted, Mapping):
        changed = sorted(str(each) for each in {*found, *wanted} if found.get(each) != wanted.get(each))
        return f"other {name}: {', '.join(changed)}"[:300]
    return f"another {name}"


def _read(path: str) -> object:
    """The JSON in the file; OSError or ValueError where it cannot be had. Never blocks, whatever is at the path."""
    descriptor = os.open(path, _READING)
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError("not a file")
        content = file.read(_LARGEST + 1)
    if len(content) > _LARGEST:
        raise ValueError("too large")
    return json.loads(content)


def _replace(path: str, body: bytes) -> None:
    """Write beside the file and rename over it, so that a reader sees the old one or the new one, whole."""
    if os.path.lexists(path) and not stat.S_ISREG(mode := os.lstat(path).st_mode) and not stat.S_ISLNK(mode):
        raise OSError("not a file")  # to rename over a device is to lose it
    descriptor, temporary = tempfile.mkstemp(prefix=".benchmark-", dir=os.path.dirname(path) or ".")
    try:
        with open(descriptor, "wb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise

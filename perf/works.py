"""The kinds of work, and one measurement of one of them at one proxy."""

from __future__ import annotations

import json
import shutil
import statistics
import sys
from collections.abc import Mapping, Sequence

from attrs import asdict, evolve, frozen

from perf.load import Result, Spec, Task
from perf.processes import Process, ProcessGroup, cpu_seconds, reset_peak, resident
from perf.proxies import Proxy

_MICRO, _GIB = 1e6, 1 << 30


@frozen
class Work:
    """What is done, by how many connections, and in which unit it is told.

    `measure` is the field of a sample that is compared; the CPU is told per piece, in us, or per GiB, in seconds.
    """

    title: str
    unit: str
    path: str
    connections: int = 1
    seconds: float = 0.0
    pause: float = 0.0
    measure: str = "cpu"
    gib: float = 0.0


def works(scale: float = 1.0) -> Mapping[str, Work]:
    """All kinds of work; less of each with a smaller scale."""
    mib, chunks, streams = max(1, int(512 * scale)), max(2, int(100 * scale)), max(2, int(4000 * scale))
    size, gib = mib << 20, mib / 1024
    return {
        "json": Work("1.1 KB there and back", "us a request", "/v1/completions", 32, 2 * scale),
        "latency": Work("1.1 KB there and back, one after the other", "us a request", "/v1/completions", 1, 2 * scale),
        "sse": Work("256 streams, 50 chunks of 200 B a second", "us a chunk", f"/stream/{chunks}/0.02", 256),
        "down": Work(f"a response of {mib} MiB", "s a GiB", f"/big/{size}", gib=gib),
        "up": Work(f"a body of {mib} MiB", "s a GiB", f"/sink/{size}", gib=gib),
        "stall": Work(f"{mib} MiB, read after 2 s", "MiB at peak", f"/big/{size}", pause=2, measure="peak", gib=gib),
        "streams": Work(f"{streams} streams, 4 chunks of 200 B a second", "us a chunk", "/stream/40/0.25", streams),
    }


@frozen
class Sample:
    """One measurement. `p50`, `p99`: milliseconds to a response's first content. `peak`: the proxy's memory, in MiB."""

    cpu: float
    p50: float
    p99: float
    peak: float
    kib_a_stream: float


class Failed(Exception):
    """A measurement that is none: what the load met."""


class LoadProcesses:
    """One load, parted among as many processes as there are cores for it."""

    def __init__(self, processes: ProcessGroup, spec: Spec) -> None:
        """Returns when all are connected. Raises Failed."""
        self._processes = processes
        parts = min(len(processes.others), 4, spec.connections)
        self._running: list[Process] = []
        for part in range(parts):
            share = evolve(spec, connections=(spec.connections + part) // parts)
            argv = [sys.executable, "-m", "perf.load", json.dumps(asdict(share))]
            self._running.append(processes.start("load", argv))
        for process in self._running:
            self._line(process)

    def go(self) -> None:
        """Have them begin."""
        for process in self._running:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()

    def result(self) -> Result:
        """What came of it, once they are done. Raises Failed."""
        total = Result()
        for process in self._running:
            total.add(Result(**json.loads(self._line(process))))
            self._processes.end(process)
        return total

    def _line(self, process: Process) -> str:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise Failed(f"the load ended: {self._processes.log('load')}")
        return line


def measure(processes: ProcessGroup, proxy: Proxy, work: Work) -> Sample:
    """Do the work once through a proxy. Raises Failed where a request was not answered, or a byte was wrong."""
    task, pids = Task(work.path, proxy.request(work.path), work.pause), proxy.pids
    reset_peak(pids)
    if work.seconds and shutil.which("wrk"):
        before = cpu_seconds(pids)
        pieces, p50, p99 = _wrk(processes, proxy, work, task.text)
        used = cpu_seconds(pids) - before
    else:
        load = LoadProcesses(processes, Spec(proxy.port, proxy.tls, work.connections, [task], work.seconds))
        before = cpu_seconds(pids)
        load.go()
        result = load.result()
        used = cpu_seconds(pids) - before
        if result.errors:
            raise Failed(f"{len(result.errors)} errors, the first: {result.errors[0]}")
        pieces, p50, p99 = result.pieces, percentile(result.first, 50), percentile(result.first, 99)
    peak = resident(pids, peak=True)
    cpu = used / work.gib if work.gib else used / pieces * _MICRO
    return Sample(cpu, p50, p99, peak, (peak - proxy.idle_mib) * 1024 / work.connections)


def _wrk(processes: ProcessGroup, proxy: Proxy, work: Work, text: str) -> tuple[int, float, float]:
    (processes.folder / "request").write_text(text)
    url = f"{'https' if proxy.tls else 'http'}://127.0.0.1:{proxy.port}"
    argv = ["wrk", "-t1", f"-c{work.connections}", f"-d{max(1, round(work.seconds))}", "-s", "perf/requests.lua", url]
    process = processes.start("wrk", [*argv, "--", f"{processes.folder}/request"])
    said = process.communicate(timeout=60)[0]
    processes.end(process)
    try:
        found = json.loads(said.splitlines()[-1])
    except (IndexError, ValueError):
        raise Failed(f"wrk: {said} {processes.log('wrk')}") from None
    if found["errors"] or not found["done"]:
        raise Failed(f"wrk: {found['errors']} errors in {found['done']} requests")
    return found["done"], found["p50"], found["p99"]


def percentile(values: Sequence[float], part: int) -> float:
    """The least of the values that so many in a hundred do not exceed."""
    return sorted(values)[-(-len(values) * part // 100) - 1]


def ratio(samples: Sequence[Sample | None], others: Sequence[Sample | None], measure: str) -> float | None:
    """The median of the ratios within each round; None where no round has both."""
    both = [(getattr(a, measure), getattr(b, measure)) for a, b in zip(samples, others, strict=True) if a and b]
    return statistics.median(a / b for a, b in both) if both else None

"""Processes of ours: started on their cores, looked at through the kernel, and ended; these and no others."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from vespa.simulator.launch import ROOT, clean_environment

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)
Process = subprocess.Popen[str]


class ProcessGroup:
    """Starts processes that log into `folder`. Proxies get one core; all else, this process too, gets the others."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._started: list[Process] = []
        cores = sorted(os.sched_getaffinity(0))
        self.proxies, self.others = set(cores[:1]), set(cores[1:] or cores)
        os.sched_setaffinity(0, self.others)
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

    def start(
        self, name: str, argv: Sequence[str], *, proxy: bool = False, environment: Mapping[str, str] | None = None
    ) -> Process:
        """Start a process with pipes for its standard input and output; a proxy's output is in its log."""
        os.sched_setaffinity(0, self.proxies if proxy else self.others)
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                argv,
                cwd=ROOT,
                env={**clean_environment(os.environ), **(environment or {})},
                stdin=subprocess.PIPE,
                stdout=log if proxy else subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
                preexec_fn=lambda: _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0),
            )
        os.sched_setaffinity(0, self.others)
        self._started.append(process)
        return process

    def log(self, name: str) -> str:
        """The end of what a process wrote."""
        return (self.folder / f"{name}.log").read_text(errors="replace")[-2000:]

    def end(self, process: Process) -> None:
        """End a process that was started here, and wait for it."""
        self._started.remove(process)
        with process:  # which closes the pipes
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()

    def end_all(self) -> None:
        """End all that is left, the youngest first."""
        for process in self._started[::-1]:
            self.end(process)


def tree(pid: int) -> list[int]:
    """A process and all that descend from it."""
    found = [pid]
    for parent in found:
        for children in Path(f"/proc/{parent}/task").glob("*/children"):
            found += map(int, children.read_text().split())
    return found


def cpu_seconds(pids: Sequence[int]) -> float:
    """User and system time of processes, by the kernel's clock for each: /proc tells the same in hundredths only."""
    return sum(time.clock_gettime(~pid << 3 | 2) for pid in pids)


def resident(pids: Sequence[int], peak: bool = False) -> float:
    """Resident memory in MiB: now, or the most since `reset_peak`."""
    field = "VmHWM:" if peak else "VmRSS:"
    lines = (line.split() for pid in pids for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return sum(int(words[1]) for words in lines if words[0] == field) / 1024


def reset_peak(pids: Sequence[int]) -> None:
    """Take the peak of resident memory from now on."""
    for pid in pids:
        Path(f"/proc/{pid}/clear_refs").write_text("5")


def descriptors(pids: Sequence[int]) -> int:
    """Open files and sockets."""
    return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in pids)

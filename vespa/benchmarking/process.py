"""The benchmark's process as the worker sees it: its output, its answer, and its end."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.interfaces import IDelayedCall, IProcessTransport, IReactorTime
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from vespa.benchmarking.contract import Level
from vespa.benchmarking.progress import Progress
from vespa.runtime.secret import hidden

TERM_SECONDS = 2.0
"""From SIGTERM to SIGKILL, and from the answer to SIGTERM if the process does not end by itself."""
PIPES_SECONDS = 1.0
"""How long to wait for the rest of the output after the process has ended."""
LOST_SECONDS = 5.0
"""How long to wait after SIGKILL: a process that is blocked in the kernel may not end."""
HAS_GROUPS = hasattr(os, "killpg")
ANSWERS = 3 if HAS_GROUPS else 1
"""The descriptor on which the child answers. On Windows a process gets no more than three."""

_LARGEST_ANSWER = 65536
_WROTE = "it wrote to the descriptor that is reserved for the result"

_log = Logger()


class BenchmarkError(Exception):
    """Why a benchmark gave no throughput."""


class BenchmarkProcess(ProcessProtocol):
    """One process, from its start to its end. child.py describes what it reads and writes."""

    transport: IProcessTransport

    def __init__(
        self,
        order: bytes,
        clock: IReactorTime,
        on_progress: Callable[[str], None],
        secrets: Sequence[str],
        on_level: Callable[[Level], None] = lambda level: None,
        on_share: Callable[[float], None] = lambda share: None,
    ) -> None:
        """
        `order` is written to its standard input. `secrets` are hidden in its output and its errors.

        `on_progress` is called with each line that it prints, `on_level` with each level that it reports, and
        `on_share` with the share of its time that is over, from 0 to 1.
        """
        self.gone = False
        self._order = order
        self._pid: int | None = None
        self._clock = clock
        self._on_progress = on_progress
        self._on_level = on_level
        self._on_share = on_share
        self._secrets = secrets
        self._progress = Progress(self._tell, clock.seconds)
        self._last_line = ""
        self._said = b""
        self._answer: dict[str, Any] = {}
        self._grouped = False
        self._cause: BenchmarkError | None = None
        self._exit: Failure | None = None
        self._timer: IDelayedCall | None = None
        self._waiting: Deferred[None] = Deferred()

    def end(self) -> Deferred[None]:
        """Fires once the process has ended or was given up. Cancelling it has no effect on the process."""
        self._waiting = Deferred()
        return self._waiting

    def stop(self, cause: BenchmarkError | None = None) -> None:
        """Send SIGTERM, and SIGKILL if the process does not end. `answer` raises the first cause, if any was given."""
        self._cause = self._cause or cause
        if self._exit is None:
            self._signal("TERM")
            self._after(TERM_SECONDS, self.kill)

    def kill(self) -> None:
        if self._exit is None:
            self._signal("KILL")
            self._after(LOST_SECONDS, self._finish)

    def answer(self) -> Mapping[str, Any]:
        """The process's answer, even if it was stopped later. Raises BenchmarkError for an error or no answer."""
        if "error" in self._answer:
            raise BenchmarkError(hidden(str(self._answer["error"]), self._secrets))
        if not self._answer:
            raise self._cause or BenchmarkError(self._how_it_ended())
        return self._answer

    def connectionMade(self) -> None:
        self._pid = self.transport.pid
        # Standard input stays open: the child ends when it is closed, because the worker has ended then.
        self.transport.write(self._order)

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        if self.gone:
            return
        if childFD != ANSWERS:
            self._progress.received(childFD, data)
            return
        self._said += data
        if len(self._said) > _LARGEST_ANSWER:
            self._said = b""
            self.stop(BenchmarkError(_WROTE))
        *lines, self._said = self._said.split(b"\n")
        for line in lines:
            self._hear(line)

    def processExited(self, reason: Failure) -> None:
        self._exit = reason
        if self._grouped:
            self._signal("KILL")  # processes that the benchmark started and did not end
        if not self.gone:
            # A process that left the group may keep the pipes open.
            self._after(PIPES_SECONDS, self._finish)

    def processEnded(self, reason: Failure) -> None:
        self._exit = reason
        self._finish()

    def _hear(self, line: bytes) -> None:
        try:
            said = json.loads(line)
        except (ValueError, RecursionError):
            said = None
        if not isinstance(said, dict):
            self.stop(BenchmarkError(_WROTE))
        elif said.get("group") is not None:
            self._grouped = said["group"] == self._pid
        elif "level" in said or "progress" in said:
            self._report(said)
        elif not self._answer:
            self._answer = said
            self._after(TERM_SECONDS, self.stop)

    def _report(self, said: Mapping[str, Any]) -> None:
        try:
            if "level" in said:
                self._on_level(Level.checked(said["level"]))
            elif isinstance(said["progress"], int | float):
                self._on_share(min(1.0, max(0.0, said["progress"])))
        except ValueError:
            self.stop(BenchmarkError(_WROTE))
        except Exception:
            _log.failure("a report of the benchmark could not be passed on")

    def _signal(self, name: str) -> None:
        try:
            if self._grouped and self._pid:
                os.killpg(self._pid, signal.Signals[f"SIG{name}"])
            else:
                self.transport.signalProcess(name)
        except (ProcessExitedAlready, ProcessLookupError):
            pass

    def _after(self, seconds: float, then: Callable[[], None]) -> None:
        """Call `then` later. There is one timer; this replaces the previous call."""
        self._no_timer()
        self._timer = self._clock.callLater(seconds, then)

    def _no_timer(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    def _finish(self) -> None:
        if self.gone:
            return
        self.gone = True
        self._no_timer()
        self._progress.ended()
        for descriptor in sorted({0, 1, 2, ANSWERS}):
            self.transport.closeChildFD(descriptor)
        if self._exit is None:
            _log.warn("the benchmark's process {pid} does not end and is left alone", pid=self._pid)
        self._waiting.callback(None)

    def _tell(self, line: str) -> None:
        line = hidden(line, self._secrets)
        self._last_line = line
        try:
            self._on_progress(line)
        except Exception:
            _log.failure("a line of the benchmark's progress could not be passed on")

    def _how_it_ended(self) -> str:
        """A sentence about the end of a process that gave no answer."""
        error = None if self._exit is None else self._exit.value
        if number := getattr(error, "signal", None):
            how = f"was killed by signal {number} ({signal.strsignal(number)})"
        elif status := getattr(error, "exitCode", None):
            how = f"ended with status {status}"
        else:
            how = "ended"
        return f"its process {how} before there was a result" + (f": {self._last_line}" if self._last_line else "")

"""Running a benchmark: in a process of its own, under a deadline, so that it can neither stall nor crash the worker."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.interfaces import IDelayedCall, IProcessTransport, IReactorProcess, IReactorTime
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from vespa.benchmarking.contract import Figure, throughput
from vespa.benchmarking.progress import Progress
from vespa.runtime.secret import secret_forms

TERM_SECONDS = 2.0
"""From SIGTERM to SIGKILL, and from the result to SIGTERM where the process does not end by itself."""
PIPES_SECONDS = 1.0
"""From the end of the process to the end of waiting for what it printed."""
LOST_SECONDS = 5.0
"""From SIGKILL to giving the process up: a process that waits in the kernel may not end."""

_SECRETS = frozenset(
    "MASTER_TOKEN VAST_API_KEY VAST_ACCOUNT_KEY CONTAINER_API_KEY OPEN_BUTTON_TOKEN JUPYTER_TOKEN "
    "VESPA_BACKEND_AUTHORIZATION".split()
)
_LARGEST_ANSWER = 65536
_SHORTEST_PART = 8  # characters of a secret at the end of a line: "Bearer " alone tells nothing
_TOOK_LONGER = "it took longer than"
_HAS_GROUPS = hasattr(os, "killpg")
# The descriptor of the answers. Windows gives a process no more than three.
_ANSWERS = 3 if _HAS_GROUPS else 1
_HOW: dict[str, Any] = {"childFDs": {0: "w", 1: "r", 2: "r", 3: "r"}} if _HAS_GROUPS else {}
_ARGUMENTS = [] if _HAS_GROUPS else ["1"]

_log = Logger()


class BenchmarkError(Exception):
    """Why a benchmark gave no throughput."""


class TookTooLong(BenchmarkError):
    """There was no answer in time."""


async def run(
    spec: str,
    backend_url: str,
    *,
    spawner: IReactorProcess,
    clock: IReactorTime,
    timeout: float,
    environment: Mapping[str, str],
    on_progress: Callable[[str], None],
    ca_file: str = "",
    authorization: str = "",
) -> Figure:
    """Measure the backend by the benchmark `spec`, `module:function` or `path/of/file.py:function`.

    `timeout` is in seconds. `environment` reaches the benchmark less the platform's secrets. `on_progress` gets each
    line that the benchmark prints. `authorization` is the header's value for the session's requests to the backend, ""
    for none; it goes by the child's standard input, where no list of processes and no environment shows it. Fires with
    units of work per second once the process is gone; fails with BenchmarkError, or, cancelled, with CancelledError,
    once the process is killed and reaped.
    """
    order = {
        "spec": spec,
        "backend_url": backend_url,
        "ca_file": ca_file,
        "authorization": authorization,
        "check": False,
    }
    child = await _perform(order, spawner, clock, timeout, environment, on_progress)
    return child.verdict()


async def check(
    spec: str,
    *,
    spawner: IReactorProcess,
    clock: IReactorTime,
    timeout: float,
    environment: Mapping[str, str],
    on_progress: Callable[[str], None],
) -> None:
    """Import the benchmark `spec` in a process of its own, as `run` does, and leave it at that.

    Raises BenchmarkError, in words for a log, where it cannot be imported or is no coroutine function, or where that
    takes longer than `timeout` seconds. What it prints as it is imported goes to `on_progress`.
    """
    order = {"spec": spec, "backend_url": "", "ca_file": "", "authorization": "", "check": True}
    child = await _perform(order, spawner, clock, timeout, environment, on_progress)
    child.checked()


async def _perform(
    order: Mapping[str, object],
    spawner: IReactorProcess,
    clock: IReactorTime,
    timeout: float,
    environment: Mapping[str, str],
    on_progress: Callable[[str], None],
) -> _Child:
    """The child once its process is gone. Raises BenchmarkError where there is none, CancelledError."""
    child = _Child(json.dumps(order).encode() + b"\n", clock, on_progress, str(order["authorization"]))
    command = [sys.executable, os.path.join(os.path.dirname(os.path.abspath(__file__)), "isolated.py"), *_ARGUMENTS]
    try:
        spawner.spawnProcess(child, command[0], command, env=child_environment(environment), **_HOW)
    except OSError as error:
        raise BenchmarkError(f"its process cannot be started: {error}") from error
    deadline = clock.callLater(timeout, child.stop, f"{_TOOK_LONGER} {timeout:g} s")
    cancelled = False
    while not child.gone:
        try:
            await child.end()
        except CancelledError:
            # The first time it may end by itself; the second time there is no time left.
            child.kill() if cancelled else child.stop("it was cancelled")
            cancelled = True
    if deadline.active():
        deadline.cancel()
    if cancelled:
        raise CancelledError
    return child


def child_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment for a benchmark: without the keys to the account."""
    kept = {name: value for name, value in environment.items() if name not in _SECRETS}
    # An empty entry is the current folder; Vespa's own is put on the path by the process itself.
    paths = [each for each in kept.pop("PYTHONPATH", "").split(os.pathsep) if each]
    return {**kept, "PYTHONPATH": os.pathsep.join(paths)} if paths else kept


def hidden(text: str, secrets: Iterable[str]) -> str:
    """`text` without the secrets, and without the beginning of one where `text` was cut off."""
    for secret in secrets:
        text = text.replace(secret, "[hidden]")
        body, cut = (text[:-1], text[-1]) if text.endswith("…") else (text, "")
        for size in range(min(len(secret), len(body)), _SHORTEST_PART - 1, -1):
            if body.endswith(secret[:size]):
                text = body[:-size] + "[hidden]" + cut
                break
    return text


class _Child(ProcessProtocol):
    """One process from its start to its end, and what it said."""

    transport: IProcessTransport

    def __init__(
        self, order: bytes, clock: IReactorTime, on_progress: Callable[[str], None], authorization: str = ""
    ) -> None:
        """`authorization` is hidden in all that the process says."""
        self.gone = False
        self._order = order
        self._pid: int | None = None
        self._clock = clock
        self._on_progress = on_progress
        self._secrets = secret_forms(authorization)
        self._progress = Progress(self._tell, clock.seconds)
        self._last_line = ""
        self._said = b""
        self._answer: dict[str, Any] = {}
        self._grouped = False
        self._cause = ""
        self._exit: Failure | None = None
        self._timer: IDelayedCall | None = None
        self._waiting: list[Deferred[None]] = []

    def end(self) -> Deferred[None]:
        """Fires once the process is gone; cancelling it has no effect on the process."""
        waiting: Deferred[None] = Deferred()
        self._waiting.append(waiting)
        return waiting

    def stop(self, cause: str = "") -> None:
        """Ask the process to end, and kill it if it does not. The first cause given is the one that counts."""
        self._cause = self._cause or cause
        if self._exit is None:
            self._signal("TERM")
            self._after(TERM_SECONDS, self.kill)

    def kill(self) -> None:
        if self._exit is None:
            self._signal("KILL")
            self._after(LOST_SECONDS, self._finish)

    def verdict(self) -> Figure:
        """Units of work per second; BenchmarkError where there are none."""
        if "result" in self._answer:
            try:
                result = throughput(self._answer["result"])
            except ValueError as error:
                raise BenchmarkError(f"its result is wrong: {error}") from None
            at_once = self._answer.get("concurrency")
            return Figure(result, at_once if type(at_once) is int and at_once > 0 else 0)
        raise self._failure()

    def checked(self) -> None:
        """BenchmarkError unless the process found the benchmark fit to be run."""
        if not self._answer.get("checked"):
            raise self._failure()

    def _failure(self) -> BenchmarkError:
        if "error" in self._answer:
            return BenchmarkError(hidden(str(self._answer["error"]), self._secrets))
        kind = TookTooLong if self._cause.startswith(_TOOK_LONGER) else BenchmarkError
        return kind(self._cause or self._how_it_ended())

    def connectionMade(self) -> None:
        self._pid = self.transport.pid
        # Standard input stays open: its end is how the child learns that the worker is gone.
        self.transport.write(self._order)

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        if self.gone:
            return
        if childFD != _ANSWERS:
            self._progress.received(childFD, data)
            return
        self._said += data
        if len(self._said) > _LARGEST_ANSWER:
            self._said = b""
            self.stop("it wrote on the descriptor that the result is told on")
        *lines, self._said = self._said.split(b"\n")
        for line in lines:
            self._hear(line)

    def processExited(self, reason: Failure) -> None:
        self._exit = reason
        if self._grouped:
            self._signal("KILL")  # what the benchmark started and left behind
        if not self.gone:
            # A process that left the group may hold the pipes open for as long as it likes.
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
            self.stop("it wrote on the descriptor that the result is told on")
        elif said.get("group") is not None:
            self._grouped = said["group"] == self._pid
        elif not self._answer:
            self._answer = said
            self._after(TERM_SECONDS, self.stop)

    def _signal(self, name: str) -> None:
        try:
            if self._grouped and self._pid:
                os.killpg(self._pid, signal.Signals[f"SIG{name}"])
            else:
                self.transport.signalProcess(name)
        except (ProcessExitedAlready, ProcessLookupError):
            pass

    def _after(self, seconds: float, then: Callable[[], None]) -> None:
        """There is one next step at a time: a new one takes the place of the old."""
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
        for descriptor in sorted({0, 1, 2, _ANSWERS}):
            self.transport.closeChildFD(descriptor)
        if self._exit is None:
            _log.warn("the benchmark's process {pid} does not end and is left alone", pid=self._pid)
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.callback(None)

    def _tell(self, line: str) -> None:
        line = hidden(line, self._secrets)
        self._last_line = line
        try:
            self._on_progress(line)
        except Exception:
            _log.failure("a line of the benchmark's progress could not be passed on")

    def _how_it_ended(self) -> str:
        """The end of a process that gave no answer."""
        error = None if self._exit is None else self._exit.value
        if number := getattr(error, "signal", None):
            how = f"was killed by signal {number} ({signal.strsignal(number)})"
        elif status := getattr(error, "exitCode", None):
            how = f"ended with status {status}"
        else:
            how = "ended"
        return f"its process {how} before there was a result" + (f": {self._last_line}" if self._last_line else "")

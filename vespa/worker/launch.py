"""A production start: the certificate, then the worker, and one report to the autoscaler if either truly fails.

By the standard library alone, so that a broken installation is reported too. Both steps are processes of their own.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, MutableMapping, Sequence
from functools import partial
from typing import IO, Any, Final

from vespa.runtime.parent_death import signal_at_parent_death
from vespa.worker import failure_report

CERTIFICATE = (sys.executable, "-m", "vespa.worker.certificate")
WORKER = (sys.executable, "-m", "vespa.cli", "worker")

KEPT_LINES = 12
LONGEST_LINE = 64 * 1024


class Launch:
    """Runs one process after the other, shows their output, passes signals on, and remembers the last lines."""

    def __init__(self, output: IO[bytes]) -> None:
        self._output = output
        self._process: subprocess.Popen[bytes] | None = None
        self.stopped = False
        self.last_lines: deque[str] = deque(maxlen=KEPT_LINES)

    def signalled(self, number: int, frame: Any) -> None:
        """Handle a signal: whatever happens from now on, it was asked for."""
        self.stopped = True
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    def run(self, command: Sequence[str]) -> int:
        """Run `command` to its end; its exit code, as a shell would give it."""
        if self.stopped:
            return 0
        self.last_lines.clear()
        self._process = process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            # Else Control-C would reach it twice, and a second signal ends it at once.
            start_new_session=True,
            # A launcher that was killed cannot pass signals on: the worker then drains instead of serving on unseen.
            preexec_fn=partial(signal_at_parent_death, signal.SIGTERM),
        )
        if self.stopped:  # between the start and the line that tells the handler of it
            process.terminate()
        assert process.stdout is not None
        reader = threading.Thread(target=self._copy, args=(process.stdout,), daemon=True)
        reader.start()
        code = process.wait()
        # Not for ever: a process that it left behind may hold the pipe open.
        reader.join(2.0)
        if code < 0:
            self.last_lines.append(f"killed by {signal.Signals(-code).name}")
            return 128 - code
        return code

    def _copy(self, pipe: IO[bytes]) -> None:
        for line in iter(lambda: pipe.readline(LONGEST_LINE), b""):
            text = line.decode("utf-8", "replace").rstrip()
            if text:
                self.last_lines.append(text)
            try:
                self._output.write(line)
                self._output.flush()
            except (OSError, ValueError):
                pass  # nobody reads the log any more; the worker must not be stopped by that


def launch(
    environ: MutableMapping[str, str],
    run: Launch,
    report: Callable[[MutableMapping[str, str], str], bool] = failure_report.report,
    steps: Sequence[tuple[str, Sequence[str]]] = (("the certificate", CERTIFICATE), ("the worker", WORKER)),
) -> int:
    """Run the steps one after the other; the exit code is that of the first that fails."""
    for name, command in steps:
        code = run.run(command)
        if run.stopped:
            return code
        if code:
            if not any(TOLD in line for line in run.last_lines):
                ended = f"{name} ended with exit code {code}: " + "\n".join(run.last_lines)
                report(environ, cause(run.last_lines) or ended)
            return code
    return 0


def production_defaults(environ: MutableMapping[str, str]) -> None:
    """On Vast.ai the worker speaks TLS unless told otherwise."""
    on_vast = environ.get("CONTAINER_ID", "").strip()
    if on_vast and not any(environ.get(name, "").strip() for name in ("VESPA_USE_SSL", "USE_SSL")):
        environ["VESPA_USE_SSL"] = "true"


def cause(lines: Iterable[str]) -> str:
    """What a worker said last of why it ends, if it said so itself: without the rest of its log; "" if it did not."""
    found: list[str] = []
    for line in lines:
        if line.startswith(_ERROR):
            found = [line[len(_ERROR) :]]
        elif _CRITICAL in line:
            found = [line.partition(_CRITICAL)[2].partition("] ")[2]]
        elif found and line.startswith("  "):
            found.append(line)
    return "\n".join(found)


TOLD: Final = "the autoscaler was told why this worker ends"
"""What a worker logs whose own last report was an error: it need not be reported once more."""

_ERROR: Final = "error: "
_CRITICAL: Final = " critical ["

NEEDED = (
    *("twisted", "treq", "klein", "OpenSSL", "service_identity", "cryptography", "attrs", "msgspec", "httptools"),
    "aiohttp",
)
"""What the packages of requirements.txt are imported as."""


def is_installed(name: str) -> bool:
    """Whether a package can be imported; this checkout's own folder `twisted`, which only holds a plugin, is none."""
    spec = importlib.util.find_spec(name)
    return spec is not None and spec.origin is not None


def missing_packages(is_installed: Callable[[str], bool] = is_installed) -> str:
    """Which packages are not installed, and how to have them, in one sentence; "" when all are there."""
    missing = [name for name in NEEDED if not is_installed(name)]
    if not missing:
        return ""
    file = os.path.join(
        os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), "requirements.txt"
    )
    what = "the package" if len(missing) == 1 else "the packages"
    return (
        f"{sys.executable} lacks {what} {', '.join(missing)}: "
        f"run {sys.executable} -m pip install -r {file}, or use start_server.sh, which does"
    )


def main() -> int:
    """Start the worker of this environment and wait for its end."""
    lacking = missing_packages()
    if lacking:
        print(f"error: {lacking}", file=sys.stderr, flush=True)
        failure_report.report(os.environ, lacking)
        return 1
    production_defaults(os.environ)
    run = Launch(sys.stdout.buffer)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, run.signalled)
    return launch(os.environ, run)


if __name__ == "__main__":
    sys.exit(main())

"""A production start: the certificate, then the worker, and a report to the autoscaler if one of them fails.

It uses the standard library only, so that it can report a broken installation. Both steps are processes of their own.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, MutableMapping, Sequence
from typing import IO, Any, Final

from vespa.runtime.parent_death import signal_at_parent_death
from vespa.worker import failure_report

CERTIFICATE = (sys.executable, "-m", "vespa.worker.certificate")
WORKER = (sys.executable, "-m", "vespa.cli", "worker")

KEPT_LINES = 12
LONGEST_LINE = 64 * 1024


class Launch:
    """Runs one process after the other, shows their output, passes signals on, and keeps the last lines."""

    def __init__(self, output: IO[bytes]) -> None:
        self._output = output
        self._process: subprocess.Popen[bytes] | None = None
        self.stopped = False
        self.last_lines: deque[str] = deque(maxlen=KEPT_LINES)

    def signalled(self, number: int, frame: Any) -> None:
        """Handle a signal. A later end of the process is then not a failure."""
        self.stopped = True
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    def pass_on(self, number: int, frame: Any) -> None:
        """Handle a signal that ends nothing: the worker has a use for it."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    def run(self, command: Sequence[str]) -> int:
        """Run `command` to its end. Returns its exit code in the form of a shell."""
        if self.stopped:
            return 0
        self.last_lines.clear()
        self._process = process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            # Otherwise Control-C would reach it twice, and a second signal ends it at once.
            start_new_session=True,
            # A killed launcher cannot pass signals on. The worker then drains instead of running on unnoticed.
            preexec_fn=_prepare_child,
        )
        if self.stopped:  # the signal came before `_process` was set
            process.terminate()
        assert process.stdout is not None
        reader = threading.Thread(target=self._copy, args=(process.stdout,), daemon=True)
        reader.start()
        code = process.wait()
        # With a limit, because a process that the command left behind may hold the pipe open.
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
                pass  # the log no longer has a reader, which must not stop the worker


def _prepare_child() -> None:
    signal_at_parent_death(signal.SIGTERM)
    # Otherwise it would end a step that does not handle it, or not yet.
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)


def launch(
    environ: MutableMapping[str, str],
    run: Launch,
    report: Callable[[MutableMapping[str, str], str], bool] = failure_report.report,
    steps: Sequence[tuple[str, Sequence[str]]] = (("the certificate", CERTIFICATE), ("the worker", WORKER)),
) -> int:
    """Run the steps one after the other. Returns the exit code of the first that fails, or 0."""
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
    """On Vast.ai the worker uses TLS by default."""
    on_vast = environ.get("CONTAINER_ID", "").strip()
    if on_vast and not any(environ.get(name, "").strip() for name in ("VESPA_USE_SSL", "USE_SSL")):
        environ["VESPA_USE_SSL"] = "true"


def cause(lines: Iterable[str]) -> str:
    """The reason that a worker gave last for its end, without the rest of its log; "" if it gave none."""
    found: list[str] = []
    for line in lines:
        if line.startswith(_ERROR):
            found = [line[len(_ERROR) :]]
        elif line.startswith("{") and _CRITICAL_JSON in line:
            found = [_message(line)]
        elif _CRITICAL in line:
            found = [line.partition(_CRITICAL)[2].partition("] ")[2]]
        elif found and line.startswith("  "):
            found.append(line)
    return "\n".join(found)


def _message(line: str) -> str:
    """The message in a line of JSON; the line itself if it is none, because it was too long to be kept whole."""
    try:
        return str(json.loads(line)["message"])
    except (ValueError, LookupError):
        return line


TOLD: Final = "the worker's last report gave the autoscaler the reason for its end"
"""A line of a worker's log after which its failure need not be reported again."""

_ERROR: Final = "error: "
_CRITICAL: Final = " critical ["
_CRITICAL_JSON: Final = '"level": "critical"'

NEEDED = (
    *("twisted", "treq", "klein", "OpenSSL", "service_identity", "cryptography", "attrs", "msgspec", "httptools"),
    "aiohttp",
    "prometheus_client",
)
"""The import names of the packages in requirements.txt."""


def is_installed(name: str) -> bool:
    """Whether a package can be imported. The checkout's folder `twisted`, which holds only a plugin, is not one."""
    spec = importlib.util.find_spec(name)
    return spec is not None and spec.origin is not None


def missing_packages(is_installed: Callable[[str], bool] = is_installed) -> str:
    """One sentence about missing packages and how to install them; "" if none is missing."""
    missing = [name for name in NEEDED if not is_installed(name)]
    if not missing:
        return ""
    file = os.path.join(
        os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), "requirements.txt"
    )
    what = "the package" if len(missing) == 1 else "the packages"
    return (
        f"{sys.executable} lacks {what} {', '.join(missing)}: "
        f"run {sys.executable} -m pip install -r {file}, or use start_server.sh, which installs them"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Start the worker for this environment and wait for its end. The exit code is 2 for arguments: it takes none."""
    parser = argparse.ArgumentParser(
        prog="python -m worker",
        description="Start the worker as on Vast.ai: its certificate, then the worker itself. A start that fails is "
        "reported to the autoscaler. All settings are environment variables, which docs/settings.md lists.",
    )
    unknown = parser.parse_known_args(argv)[1]
    if unknown:
        parser.print_usage(sys.stderr)
    # Not which: one may be a secret.
    count = f"{len(unknown)} argument{'s' * (len(unknown) > 1)}"
    why = f"{count} given, but all settings are environment variables" if unknown else missing_packages()
    if why:
        print(f"error: {why}", file=sys.stderr, flush=True)
        failure_report.report(os.environ, why)
        return 2 if unknown else 1
    production_defaults(os.environ)
    run = Launch(sys.stdout.buffer)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, run.signalled)
    signal.signal(signal.SIGUSR2, run.pass_on)
    return launch(os.environ, run)


if __name__ == "__main__":
    sys.exit(main())

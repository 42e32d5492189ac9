"""Runs a worker's file in a process of its own, with bounds, and returns what it found out."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import tempfile
import threading
from collections.abc import Mapping, Sequence
from typing import IO, Final

from attrs import field, frozen

from vespa.migrating.checked_json import FormError, read
from vespa.migrating.messages import Answer, Order, write
from vespa.runtime.files import read_file

REQUESTS_SECONDS: Final = 10.0
"""How long the benchmark may take to make its requests, after the time limit of the file itself."""
LARGEST_ANSWER: Final = 32 * 1024 * 1024
LAST_OUTPUT: Final = 2000
"""How many of the last bytes that the file printed are kept."""

_SCRIPT: Final = os.path.join(os.path.dirname(os.path.abspath(__file__)), "start.py")
_SECRET: Final = re.compile(
    r"(?:.*_)?(?:PASS|PASSPHRASE|PASSWD|AUTH|AUTHORIZATION|CREDENTIALS?|COOKIE|SIGNATURE|DSN)(?:_.*)?"
    r"|.*(?:TOKEN|KEY|SECRET|PASSWORD)(?:_.*)?",
    re.I,
)
_PASSWORD: Final = re.compile(r"(://[^/@:\s]*:)[^/@\s]+@")
_HARMLESS: Final = re.compile(r"[0-9.]{0,6}|true|false|yes|no|on|off|none", re.I)
_ABOUT_THE_PARENT: Final = frozenset({"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"})
# What Vast.ai sets on its machines, where the file is officially run.
_ON_VAST: Final = {
    "CONTAINER_ID": "1",
    "WORKER_PORT": "3000",
    "VAST_TCP_PORT_3000": "3000",
    "PUBLIC_IPADDR": "127.0.0.1",
    "REPORT_ADDR": "https://run.vast.ai",
}


class ReadingError(Exception):
    """Why nothing is known of the file, in words."""


@frozen
class ChildResult:
    """What the process said."""

    answer: Answer
    printed: str
    """The end of what it printed."""
    hidden: tuple[str, ...] = field(default=())
    """The variables whose values were replaced by their names."""


def read_worker(
    file: str,
    environ: Mapping[str, str],
    python: str,
    *,
    arguments: Sequence[str] = (),
    stand_in: bool = False,
    seconds: float = 30.0,
) -> ChildResult:
    """
    Run `file` with the interpreter `python` in the environment `environ`, without the values of secrets.

    Blocks, for `seconds` and REQUESTS_SECONDS at most. Raises ReadingError if the process cannot be started or ends
    without an answer.
    """
    path = os.path.realpath(file)
    if not os.path.isfile(path):
        raise ReadingError("it is not a file" if os.path.exists(path) else "there is no such file")
    environment, hidden = child_environment(environ)
    with tempfile.TemporaryDirectory(prefix="vespa-migrate-") as folder:
        answer = os.path.join(folder, "answer.json")
        order = Order(path, answer, float(seconds), stand_in, [*arguments])
        how, printed = _run(python, write(order).encode() + b"\n", environment, seconds + REQUESTS_SECONDS)
        return ChildResult(load(answer, how, printed), printed, hidden)


def child_environment(environ: Mapping[str, str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """
    The environment of the file, and the names of the secrets in it.

    The value of a secret is replaced by its name, as `<HF_TOKEN>`, so that nothing that the file makes can contain it.
    """
    environment, hidden = dict(_ON_VAST), []
    for name, value in environ.items():
        if name in _ABOUT_THE_PARENT:
            continue
        if _SECRET.fullmatch(name) and not _HARMLESS.fullmatch(value):
            value = f"<{name}>"
            hidden.append(name)
        elif _PASSWORD.search(value):
            value = _PASSWORD.sub(rf"\1<{name}>@", value)
            hidden.append(name)
        environment[name] = value
    return environment, tuple(sorted(hidden))


def _run(python: str, order: bytes, environment: Mapping[str, str], seconds: float) -> tuple[str, str]:
    """Run the process to its end, or kill it with all that it started. Returns how it ended, and what it printed."""
    groups = hasattr(os, "killpg")
    try:
        process = subprocess.Popen(
            [python, "-X", "utf8", _SCRIPT],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=groups,
        )
    except OSError as error:
        raise ReadingError(f"{python} cannot be started: {error.strerror or error}") from error
    assert process.stdin is not None and process.stdout is not None
    last = bytearray()
    reader = threading.Thread(target=_keep_the_end, args=(process.stdout, last), daemon=True)
    reader.start()
    try:
        try:
            process.stdin.write(order)
            process.stdin.flush()  # it stays open: when it is closed, the process ends with all that it started
        except OSError:  # it has ended already
            pass
        try:
            status = process.wait(seconds)
            how = f"ended with status {status}" if status >= 0 else f"was ended by signal {-status}"
        except subprocess.TimeoutExpired:
            how = f"did not end within {seconds:g} seconds"
    finally:
        try:
            if groups:
                os.killpg(process.pid, signal.SIGKILL)
            else:
                process.kill()
        except (ProcessLookupError, PermissionError):
            pass
        process.wait()
        try:
            process.stdin.close()
        except OSError:  # the rest of the order has no reader
            pass
        reader.join(1.0)
    return how, bytes(last).decode("utf-8", "replace")


def _keep_the_end(stream: IO[bytes], last: bytearray) -> None:
    """Read all of a stream, and keep its end: a process that prints must not wait for a reader."""
    with stream:
        while data := os.read(stream.fileno(), 65536):
            last += data
            del last[:-LAST_OUTPUT]


def load(path: str, how: str, printed: str) -> Answer:
    """
    The answer in the file `path`, of a process that ended so and printed this. Raises ReadingError.

    The worker's file runs in that process, and may write there what it wants.
    """
    try:
        data = read_file(path, LARGEST_ANSWER + 1)
    except OSError:
        line = next((line.strip() for line in reversed(printed.splitlines()) if line.strip()), "")
        raise ReadingError(f"its process {how}, and told nothing" + (f": {line}" if line else "")) from None
    if len(data) > LARGEST_ANSWER:
        raise ReadingError(f"its process wrote an answer of more than {LARGEST_ANSWER} bytes, which is not read")
    try:
        return read(Answer, data)
    except FormError as error:
        raise ReadingError(f"its process wrote an answer that cannot be read: {error}") from None

"""Starts a worker beside the simulator: the command, and the environment that Vast would set."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Mapping, Sequence
from typing import Final

import vespa
from vespa.runtime.twistd import twistd_options

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(vespa.__file__)))
"""The folder with `vespa` and `twisted/plugins`."""

_OURS = ("VESPA_", "VAST_", "BENCHMARK_", "OTEL_")
_VASTS = frozenset(
    "CONTAINER_ID MASTER_TOKEN REPORT_ADDR PUBLIC_IPADDR MODEL_NAME WORKER_PORT USE_SSL UNSECURED".split()
)

STOPS_BY_SIGNAL: Final = os.name == "posix"
"""Whether a signal stops a child in order. On Windows the end of its standard input does, because a signal kills it."""

_OWN_GROUP: Final = "import os; os.setpgid(0, 0); "
_NO_CTRL_C: Final = (
    "import ctypes\nif hasattr(ctypes, 'windll'): ctypes.windll.kernel32.SetConsoleCtrlHandler(None, True)\n"
)
_UNTIL_INPUT_ENDS: Final = (
    "import os, signal, threading\n"
    "def wait():\n"
    "    while os.read(0, 4096): pass\n"
    "    signal.raise_signal(signal.SIGINT)\n"
    "threading.Thread(target=wait, daemon=True).start()\n"
)


def _beginning(own_group: bool) -> str:
    if STOPS_BY_SIGNAL:
        return _OWN_GROUP if own_group else ""
    return (_NO_CTRL_C if own_group else "") + _UNTIL_INPUT_ENDS


def ends_with_input(command: Sequence[str]) -> bool:
    """Whether the end of its standard input stops a command of ours."""
    return any(_UNTIL_INPUT_ENDS in part for part in command)


def worker_command(*arguments: str, own_group: bool = False) -> list[str]:
    """The command that runs `twistd -n vespa` with this Python, installed or not.

    Other arguments replace `vespa`. With `own_group` a Ctrl-C at the terminal does not reach it.
    """
    code = _beginning(own_group) + "from twisted.scripts.twistd import run; run()"
    return [sys.executable, "-c", code, *twistd_options(), *(arguments or ("vespa",))]


def client_command(*arguments: str, own_group: bool = False) -> list[str]:
    """The command that runs `vespa-proxy client` with this Python.

    A key belongs in the environment, because every user of the machine can read the arguments.
    """
    code = _beginning(own_group) + "import sys; from vespa.cli import main; sys.exit(main())"
    return [sys.executable, "-c", code, "client", *arguments]


def backend_command(port: int, rate: float, *, own_group: bool = False) -> list[str]:
    """The command that runs the small backend at a port, 0 for any free one, with so many words a second."""
    code = _beginning(own_group) + "import sys; from vespa.simulator.backend_process import main; sys.exit(main())"
    return [sys.executable, "-c", code, str(port), repr(rate)]


def clean_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """
    An environment without Vespa's settings, in which Python finds this `vespa` and its plugin.

    Logs are text, because people read them, and so do we.
    """
    clean = {name: value for name, value in environment.items() if not name.startswith(_OURS) and name not in _VASTS}
    paths = [ROOT, *filter(None, [environment.get("PYTHONPATH")])]
    for_people = {"PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8", "VESPA_LOG_FORMAT": "text"}
    return {**clean, **for_people, "PYTHONPATH": os.pathsep.join(paths)}


def worker_environment(
    *,
    port: int,
    backend_url: str,
    report_addr: str,
    cache_file: str,
    container_id: int = 7,
    master_token: str = "master-token",
    benchmark: str = "benchmarks.openai_chat:benchmark",
) -> dict[str, str]:
    """The settings of Vast and a template for a worker, here on loopback."""
    return {
        "CONTAINER_ID": str(container_id),
        "MASTER_TOKEN": master_token,
        "REPORT_ADDR": report_addr,
        "PUBLIC_IPADDR": "127.0.0.1",
        f"VAST_TCP_PORT_{port}": str(port),
        "VESPA_WORKER_PORT": str(port),
        "VESPA_BACKEND_URL": backend_url,
        "VESPA_BENCHMARK": benchmark,
        "VESPA_BENCHMARK_CACHE_FILE": cache_file,
        "VESPA_HEALTHCHECK_RETRY_INTERVAL": "0.2",
    }


def free_port() -> int:
    """A free TCP port of loopback that the system gives to no other program in the next minute.

    On POSIX it makes and closes a connection there. This leaves the port in the state TIME_WAIT, in which the system
    gives it to no program, while a server that asks for this very port may listen.
    """
    with socket.socket() as listener:
        if os.name != "posix":
            listener.bind(("127.0.0.1", 0))
        else:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", 0))
            listener.listen(1)
            with socket.create_connection(listener.getsockname()):
                listener.accept()[0].close()  # this side closes first, so that it has the state
        port: int = listener.getsockname()[1]
        return port

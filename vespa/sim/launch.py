"""How a worker is started beside the simulator: the command, and the environment that Vast would give it."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Mapping, Sequence
from typing import Final

import vespa

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(vespa.__file__)))
"""The folder in which `vespa` and `twisted/plugins` lie."""

_OURS = ("VESPA_", "VAST_", "BENCHMARK_")
_VASTS = frozenset(
    {
        "CONTAINER_ID",
        "MASTER_TOKEN",
        "REPORT_ADDR",
        "PUBLIC_IPADDR",
        "MODEL_NAME",
        "WORKER_PORT",
        "USE_SSL",
        "UNSECURED",
    }
)


def worker_command(*arguments: str, own_group: bool = False) -> list[str]:
    """The command that runs `twistd -n vespa` by this Python, installed or not.

    Other arguments take the place of `vespa`. A Ctrl-C at the terminal does not reach a process group of its own.
    """
    group = "import os; os.setpgid(0, 0); " if own_group else ""
    code = group + "from twisted.scripts.twistd import run; run()"
    return [sys.executable, "-c", code, "-n", "--pidfile=", *(arguments or ("vespa",))]


SECRETS: Final = {"api_key": "VAST_API_KEY", "account_key": "VAST_ACCOUNT_KEY", "token": "VESPA_CLIENT_TOKEN"}
"""What a client is never given as an argument, which every user of a machine can read, and the variable instead."""


def client_command(options: Mapping[str, object], *, own_group: bool = False) -> list[str]:
    """The command that runs `vespa-proxy client` by this Python: `max_connections=5` is `--max-connections=5`.

    True is a switch, and a list an option for each. Raises ValueError for one that has no business there.
    """
    arguments: list[str] = []
    for name, value in options.items():
        if name in SECRETS:
            raise ValueError(f"{name} would be seen by every user of this machine")
        flag = "--" + name.replace("_", "-")
        if isinstance(value, bool):
            arguments += [flag] * value
        elif isinstance(value, Sequence) and not isinstance(value, str):
            arguments += [f"{flag}={each}" for each in value]
        else:
            arguments.append(f"{flag}={value}")
    group = "import os; os.setpgid(0, 0); " if own_group else ""
    code = group + "import sys; from vespa.cli import main; sys.exit(main())"
    return [sys.executable, "-c", code, "client", *arguments]


def clean_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment without anything that configures Vespa, in which this `vespa` and its plugin are found."""
    clean = {name: value for name, value in environment.items() if not name.startswith(_OURS) and name not in _VASTS}
    paths = [ROOT, *filter(None, [environment.get("PYTHONPATH")])]
    return {**clean, "PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"}


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
    """What Vast and a template set for a worker, here on loopback."""
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


def is_free(port: int) -> bool:
    """Whether nobody listens at a TCP port of loopback right now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as whoever will listen does
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def free_port() -> int:
    """A TCP port of loopback that nobody listens at right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port

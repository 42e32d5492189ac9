"""The `vespa-proxy` command: each subcommand is a function of its own arguments that returns the exit code."""

from __future__ import annotations

import argparse
import errno
import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from . import __version__
from .runtime.standard_streams import OutputError, drain_into_nothing, writable
from .runtime.twistd import twistd_options

if TYPE_CHECKING:
    from .config.command_line import CommandLine

DESCRIPTION = (
    "Vespa, a serverless proxy for Vast.ai. `vespa-proxy COMMAND --help` lists a command's options and environment "
    "variables, `vespa-proxy settings` those of all."
)


def worker(arguments: Sequence[str]) -> int:
    """Serve as a worker in the foreground; the same as `twistd -n --pidfile= vespa`."""
    from .config.commands import WORKER

    _refuse(WORKER, arguments)
    from twisted.scripts.twistd import run

    # In this process, so that signals from the parent reach the worker itself.
    sys.argv = ["twistd", *twistd_options(), "vespa"]
    run()
    return 0


def client(arguments: Sequence[str]) -> int:
    """Listen on this machine and pass any HTTP client's requests on to an endpoint of Vast.ai."""
    from .client.command.run import main as run

    return run(arguments)


def load(arguments: Sequence[str]) -> int:
    """Test an endpoint under load, and report how fast it answered."""
    from .loadtest.command import main as run

    return run(arguments)


def check(arguments: Sequence[str]) -> int:
    """Examine what a worker or a client would meet: settings, backend, certificate, autoscaler and more."""
    from .checking.command import main as run

    return run(arguments)


def benchmark(arguments: Sequence[str]) -> int:
    """Measure a backend as a worker does, and show the levels, the spread and the figure."""
    from .checking.benchmark_command import main as run

    return run(arguments)


def top(arguments: Sequence[str]) -> int:
    """Show the figures of a running worker or client in a terminal, live."""
    from .top.command import main as run

    return run(arguments)


def migrate(arguments: Sequence[str]) -> int:
    """Read a PyWorker's file, and print the environment with which Vespa does the same."""
    from .migrating.command import main as run

    return run(arguments)


def demo(arguments: Sequence[str]) -> int:
    """Show everything at work on this machine: simulated autoscaler, small backend, worker, requests."""
    from .simulator.demo import main as run

    return run(arguments)


def settings(arguments: Sequence[str]) -> int:
    """Print every setting of every command with its default and meaning, as Markdown."""
    from .config.commands import SETTINGS
    from .config.documentation import markdown

    _refuse(SETTINGS, arguments)
    print(markdown())
    return 0


def version(arguments: Sequence[str]) -> int:
    """Print the version."""
    from .config.commands import VERSION

    _refuse(VERSION, arguments)
    print(f"vespa-proxy {__version__}")
    return 0


Command = Callable[[Sequence[str]], int]
COMMANDS: dict[str, Command] = {
    "worker": worker,
    "client": client,
    "load": load,
    "check": check,
    "benchmark": benchmark,
    "top": top,
    "migrate": migrate,
    "demo": demo,
    "settings": settings,
    "version": version,
}


_FULL: Final = frozenset((errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)))
"""What the system says where nothing more can be written. A command says itself which of its own files is meant."""


def _refuse(line: CommandLine, arguments: Sequence[str]) -> None:
    # For a subcommand without options: answers --help, refuses everything else.
    if problems := line.parse(arguments).problems:
        print(f"{line.command}: {'; '.join(problems)}", file=sys.stderr)
        raise SystemExit(2)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the subcommand that `argv` names and return its exit code; SystemExit for --help and mistakes."""
    sys.stdout, sys.stderr = writable(sys.stdout), writable(sys.stderr)
    try:
        try:
            return _run(sys.argv[1:] if argv is None else argv)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:  # `| head`: the reader has closed the pipe
        drain_into_nothing(sys.stdout)
        return 0
    except OSError as error:
        if error.errno not in _FULL:
            raise
        drain_into_nothing(sys.stdout)
        print(f"vespa-proxy: {OutputError(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:  # Ctrl-C while the command still loads, before it takes signals
        return 130
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in {"", "vespa", "benchmarks"}:
            raise
        print(f"error: {_missing(package)}", file=sys.stderr)
        return 1


def _missing(package: str) -> str:
    # A worker's installation (requirements.txt) does not have the packages of the other commands.
    checkout = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    wanted = f"--editable {checkout}" if os.path.exists(os.path.join(checkout, "setup.cfg")) else package
    return (
        f"this command needs the package {package}, which is not installed for {sys.executable}; a worker does not "
        f"need it. Run {sys.executable} -m pip install {wanted}"
    )


def _run(arguments: Sequence[str]) -> int:
    top = argparse.ArgumentParser(prog="vespa-proxy", description=DESCRIPTION)
    top.add_argument("--version", action="version", version=f"vespa-proxy {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, command in COMMANDS.items():
        commands.add_parser(name, help=command.__doc__, add_help=False)
    # The subcommand reads the rest.
    return COMMANDS[top.parse_args(arguments[:1]).command](arguments[1:])


if __name__ == "__main__":
    sys.exit(main())

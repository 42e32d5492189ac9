"""The demonstration: everything at work on one machine, requests answered, and commands to try."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.task import react
from twisted.web.client import ResponseFailed

from vespa.runtime.signals import STOPPING, stop
from vespa.runtime.terminal import Terminal
from vespa.simulator.demo_client import Unexpected
from vespa.simulator.printout import Printout
from vespa.simulator.processes import NotReady
from vespa.simulator.scenarios import CLIENT_PORT, Demo

SHOWN_OF_LOG = 15
FAILURES = (NotReady, Unexpected, CannotListenError, ResponseFailed, OSError, ValueError)


async def _main(reactor: Any, options: argparse.Namespace, environment: Mapping[str, str], terminal: Terminal) -> None:
    printout = Printout(terminal, reactor)
    folder = tempfile.mkdtemp(prefix="vespa-demo-")
    demo = Demo(reactor, options, printout, environment, folder)
    running = Deferred.fromCoroutine(demo.run())
    ended: Deferred[None] = Deferred()

    def shut_down() -> Deferred[None]:
        # Ctrl-C stops the reactor, which waits here until client and worker have ended, and told their last.
        if not running.called:
            demo.silence()
            printout.heading("Stopping, as you asked (Ctrl-C or a signal)")
        running.cancel()
        return ended

    reactor.addSystemEventTrigger("before", "shutdown", shut_down)
    # The reactor's own handlers would print an error at a second Ctrl-C. SIGHUP is the end of the terminal, which
    # client and worker are not told of: they are in groups of their own.
    for number in (*STOPPING, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])):
        signal.signal(number, lambda *_: reactor.callFromThread(stop, reactor))
    code = 0
    try:
        await running
    except CancelledError:
        code = 0 if demo.succeeded else 130
    except FAILURES as error:
        code = 1
        printout.bad(_said(error))
        _show_log(printout, demo)
    else:
        printout.heading("Done. Without --once it would go on, and print commands to try.")
    finally:
        demo.silence()
        their_code = await demo.deployment.stop()
        shutil.rmtree(folder, ignore_errors=True)
        ended.callback(None)
    _show_end(printout, demo, folder)
    if code == 0 and their_code:
        printout.bad(f"client or worker ended with exit code {their_code}")
        _show_log(printout, demo)
        code = 1
    raise SystemExit(code)


def _show_end(printout: Printout, demo: Demo, folder: str) -> None:
    for name, children in (("client", demo.deployment.clients), ("worker", demo.deployment.workers)):
        for child in children:
            printout.event(name, f"ended with exit code {child.exit_code}")
    printout.event("simulator", "autoscaler and backend are closed")
    printout.good(f"nothing is left running, and {folder} is removed.")


def _said(error: Exception) -> str:
    if isinstance(error, CannotListenError):
        why = getattr(error.socketError, "strerror", None) or str(error.socketError)
        where = f"{error.interface} port {error.port}"
        return f"cannot listen on {where}: {why}; choose another with --autoscaler-port or --backend-port"
    return str(error) or type(error).__name__


def _show_log(printout: Printout, demo: Demo) -> None:
    for name, children in (("client", demo.deployment.clients), ("worker", demo.deployment.workers)):
        for child in children:
            if child.lines:
                printout.heading(f"The last of the {name}'s log")
                for line in child.lines[-SHOWN_OF_LOG:]:
                    printout.text(line, "dim")


def main(argv: Sequence[str] | None = None, terminal: Terminal | None = None) -> int:
    """Run the demonstration in a reactor of its own, and return the exit code: 0 when all went as it should.

    It prints to `terminal`, or to the standard output.
    """
    parser = argparse.ArgumentParser(
        prog="vespa-proxy demo", description="Show Vespa at work on this machine: nothing leaves it."
    )
    parser.add_argument("--once", action="store_true", help="exit after the demonstration")
    parser.add_argument(
        "--client-port", type=int, help=f"the client's port (default: {CLIENT_PORT} if it is free, else any; 0: any)"
    )
    parser.add_argument("--port", type=int, default=0, help="the worker's port (default: any free one)")
    parser.add_argument("--rate", type=float, default=50.0, help="words a second of each response (default: 50)")
    parser.add_argument("--autoscaler-port", type=int, default=0, help="the simulated autoscaler's port")
    parser.add_argument("--backend-port", type=int, default=0, help="the small backend's port")
    options = parser.parse_args(argv)
    if options.rate <= 0:
        parser.error("--rate must be above 0")
    try:
        react(_main, (options, os.environ, terminal or Terminal(sys.stdout, os.environ)))
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 1


if __name__ == "__main__":
    sys.exit(main())

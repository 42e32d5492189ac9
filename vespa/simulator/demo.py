"""The demonstration: a whole service on one machine, requests with their responses, and commands to try."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

from twisted.internet.defer import CancelledError
from twisted.internet.error import CannotListenError
from twisted.web.client import ResponseFailed

from vespa.config.commands import DEMO
from vespa.config.demo import DemoSettings
from vespa.config.reader import Reading, SettingsError
from vespa.runtime import process
from vespa.runtime.signals import STOPPING, stop
from vespa.runtime.terminal import Terminal
from vespa.simulator.demo_client import Unexpected
from vespa.simulator.printout import Printout
from vespa.simulator.processes import NotReady
from vespa.simulator.scenarios import Demo

SHOWN_OF_LOG = 15
FAILURES = (NotReady, Unexpected, CannotListenError, ResponseFailed, OSError, ValueError)


class DemoRun(process.Main):
    """One run of the command. At its end client and worker have ended, after their last reports."""

    def __init__(
        self, reactor: Any, settings: DemoSettings, environment: Mapping[str, str], terminal: Terminal
    ) -> None:
        super().__init__(reactor)
        self._printout = Printout(terminal, reactor)
        self._folder = tempfile.mkdtemp(prefix="vespa-demo-")
        self._demo = Demo(reactor, settings, self._printout, environment, self._folder)

    async def main(self) -> int:
        """Show everything and return the exit code: 0 after success."""
        demo, printout, code = self._demo, self._printout, 0
        try:
            await demo.run()
        except CancelledError:
            code = 0 if demo.succeeded else 130
            demo.quiet = True
            printout.heading("Stopping, as you asked (Ctrl-C or a signal)")
        except FAILURES as error:
            code = 1
            printout.bad(_said(error))
            _show_log(printout, demo)
        else:
            printout.heading("Done. Without --once it would go on, and print commands to try.")
        finally:
            demo.quiet = True
            their_code = await demo.deployment.stop()
            await demo.backend.stop(self._reactor)
            shutil.rmtree(self._folder, ignore_errors=True)
        _show_end(printout, demo, self._folder)
        if code == 0 and their_code:
            printout.bad(f"client or worker ended with exit code {their_code}")
            _show_log(printout, demo)
            code = 1
        return code


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


def main(argv: Sequence[str], terminal: Terminal | None = None) -> int:
    """
    Run the demonstration in this process's reactor, and return the exit code.

    It prints to `terminal`, or to the standard output.
    """
    try:
        settings = Reading(DemoSettings, {}, DEMO.parse(argv)).settings()
    except SettingsError as error:
        print(f"vespa-proxy demo: {error}", file=sys.stderr)
        return 2
    reactor = process.install_reactor()
    # SIGHUP: the terminal closes. Client and worker do not get it, because they are in process groups of their own.
    signals = (*STOPPING, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else []))
    # A second Ctrl-C changes nothing: the stop in progress continues.
    return process.run(
        reactor,
        DemoRun(reactor, settings, os.environ, terminal or Terminal(sys.stdout, os.environ)),
        on_signal=lambda *_: reactor.callFromThread(stop, reactor),
        signals=signals,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""
The stand-in of ComfyUI as a process of its own: `python -m vespa.simulator.comfyui_process [PORT [STEP_SECONDS]]`.

The port is 8188, ComfyUI's, and a step takes 0.5 s unless the arguments say otherwise.
"""

from __future__ import annotations

import argparse
import math
import signal
import sys
from collections.abc import Sequence
from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.error import CannotListenError

from vespa.runtime import process
from vespa.runtime.parent_death import signal_at_parent_death
from vespa.simulator.comfyui import SimulatedComfyUI
from vespa.simulator.serving import serve

PORT: Final = 8188
STEP_SECONDS: Final = 0.5
_HOST: Final = "127.0.0.1"


class ComfyUIMain(process.Main):
    """Serves the stand-in on loopback until it is stopped."""

    def __init__(self, reactor: Any, port: int, step_seconds: float) -> None:
        super().__init__(reactor)
        self._port = port
        self._step_seconds = step_seconds

    async def main(self) -> int:
        """Listen, say where, and wait for the end."""
        comfyui = SimulatedComfyUI(self._reactor, step_seconds=self._step_seconds)
        endpoint = TCP4ServerEndpoint(self._reactor, self._port, interface=_HOST)
        try:
            served = await serve(comfyui.resource(), endpoint, comfyui.upgrades)
        except CannotListenError as error:
            print(f"cannot listen on {_HOST} port {error.port}: {error.socketError}", flush=True)
            return 1
        print(f"comfyui: {served.url}", flush=True)
        try:
            await Deferred()
        except CancelledError:
            comfyui.queue.stop()
            await served.stop()
        return 0


def options(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The `port` and the `step_seconds` of a command line. SystemExit for --help, and with exit code 2 for mistakes."""
    parser = argparse.ArgumentParser(
        prog="python -m vespa.simulator.comfyui_process",
        description=f"A stand-in of ComfyUI's server, on {_HOST}. It runs until SIGTERM or Ctrl-C.",
    )
    parser.add_argument(
        "port", nargs="?", type=_port, default=PORT, metavar="PORT", help="0: any free one (default: %(default)s)"
    )
    parser.add_argument(
        "step_seconds",
        nargs="?",
        type=_seconds,
        default=STEP_SECONDS,
        metavar="STEP_SECONDS",
        help="how long each step of a job takes (default: %(default)s)",
    )
    return parser.parse_args(argv)


def _port(text: str) -> int:
    if not (text.isdecimal() and text.isascii() and len(text) <= 5 and int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"{text!r} is not a port: give a number from 0 to 65535")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not (math.isfinite(seconds) and seconds >= 0):
        raise argparse.ArgumentTypeError(f"{text!r} is not a time: give a number of seconds, 0 or more")
    return seconds


def main(argv: Sequence[str] | None = None) -> int:
    """Run it."""
    chosen = options(argv)
    signal_at_parent_death(getattr(signal, "SIGTERM", 0))
    reactor = process.install_reactor()
    return process.run(reactor, ComfyUIMain(reactor, chosen.port, chosen.step_seconds))


if __name__ == "__main__":
    sys.exit(main())

"""A process at a terminal: a pseudo terminal, of which a test has the other end."""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping, Sequence
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from tests.processes import until
from vespa.simulator.launch import clean_environment

fcntl: Any
termios: Any
try:
    import fcntl
    import termios
except ImportError:
    fcntl = termios = None

NO_TERMINALS = "" if termios else "this system has no pseudo terminals"


class TerminalProcess(ProcessProtocol):
    """A process at a terminal of its own: what it shows, and what is typed."""

    def __init__(self) -> None:
        ours, self._theirs = os.openpty()
        self.ends = (ours, os.dup(self._theirs), os.ttyname(self._theirs))
        self.text = ""
        self.exit_code: int | None = None
        self.echoed_at_the_end: bool | None = None
        self.ended: Deferred[None] = Deferred()

    def start(self, command: Sequence[str], environ: Mapping[str, str], folder: str) -> None:
        """Start the process; `kill` has to be called at the end."""
        environment = {**clean_environment(os.environ), **environ, "TERM": "xterm"}
        process: Any = reactor
        process.spawnProcess(self, command[0], command, env=environment, path=folder, usePTY=self.ends)

    async def kill(self) -> None:
        """End the process, if it has not ended."""
        if self.exit_code is None:
            self.signal("KILL")
            await self.ended

    def signal(self, name: str) -> None:
        transport: Any = self.transport
        transport.signalProcess(name)

    async def shows(self, text: str) -> None:
        """Wait until a text is shown. Raises AssertionError if the process ends without it."""
        await until(lambda: text in self.text or self.exit_code is not None, 30, text)
        if text not in self.text:
            raise AssertionError(f"{text!r} is not in {self.text!r}")

    async def code(self) -> int:
        """Wait for the process's end, and return its exit code; a negative one is a signal's number."""
        await until(lambda: self.exit_code is not None, 30, "the end")
        assert self.exit_code is not None
        return self.exit_code

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        self.text += data.decode("utf-8", "replace")

    def type(self, text: str) -> None:
        transport: Any = self.transport
        transport.write(text.encode())

    def resize(self, columns: int) -> None:
        """Have the terminal be so wide."""
        fcntl.ioctl(self._theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 25, columns, 0, 0))

    @property
    def echoes(self) -> bool:
        flags: list[Any] = termios.tcgetattr(self._theirs)
        return bool(flags[3] & termios.ECHO)

    def processExited(self, reason: Failure) -> None:
        self.echoed_at_the_end = self.echoes
        os.close(self._theirs)  # until now it kept the terminal from its end

    def processEnded(self, reason: Failure) -> None:
        value: Any = reason.value
        self.exit_code = value.exitCode if value.exitCode is not None else -int(value.signal or 0)
        self.ended.callback(None)

"""
Tells the service manager, usually systemd, how this process is: the protocol of sd_notify(3).

The manager sets NOTIFY_SOCKET to a Unix socket and reads datagrams from it, each with lines `NAME=value`. With a
watchdog it also sets WATCHDOG_USEC: it ends a process that has not sent WATCHDOG=1 for so long. Without NOTIFY_SOCKET
nothing here runs.
"""

from __future__ import annotations

import math
import os
import socket
from collections.abc import Callable, Mapping
from typing import Final, Protocol

from attrs import define, field, frozen
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from vespa.runtime.redaction import Redaction
from vespa.runtime.services import SurvivingLoop

STATUS_INTERVAL: Final = 1.0
"""The interval in seconds at which the state is read. A change is told after so long at most."""
EXTEND_INTERVAL: Final = 10.0
"""The interval in seconds at which a process that still starts, or that stops, asks for more time."""
EXTEND_SECONDS: Final = 30.0
"""The time that it then asks for. It is more than the interval, because one datagram may be lost."""
TEXT_MAX: Final = 600
"""The maximum length of a status text in characters."""

_MICROSECONDS: Final = 1_000_000


@frozen
class ServiceState:
    """What the service manager hears about a process."""

    ready: bool
    text: str
    """One line for people. `systemctl status` shows it."""
    starting: bool = False
    """Work towards readiness goes on, such as a model that loads: the manager must not end the process for it."""


@frozen
class ManagerSettings:
    """What a service manager has set in the environment of its process."""

    address: str
    """The path of its socket; `@` before it stands for the zero byte of Linux' abstract sockets."""
    watchdog_seconds: float = 0.0
    """The longest time without a sign of life; 0: there is no watchdog."""

    @classmethod
    def read(cls, environ: Mapping[str, str], pid: int) -> ManagerSettings | None:
        """The settings for the process `pid`; None if no service manager wants to hear of it."""
        address = environ.get("NOTIFY_SOCKET", "")
        if not address:
            return None
        # The variables are inherited: a watchdog that is set for another process is not ours.
        if environ.get("WATCHDOG_PID", "") not in ("", str(pid)):
            return cls(address)
        try:
            microseconds = int(environ.get("WATCHDOG_USEC", "0"))
        except ValueError:
            microseconds = 0
        return cls(address, max(microseconds, 0) / _MICROSECONDS)


class Notifies(Protocol):
    """Sends to the service manager."""

    def send(self, *assignments: str) -> bool:
        """Send one datagram with these lines, `NAME=value` each. Returns whether the manager has it. Does not fail."""

    def close(self) -> None:
        """Send nothing more."""


@define(eq=False)
class Notifier:
    """A socket to the service manager. It never blocks. Why a datagram could not be sent is logged once."""

    log = Logger()

    _address: str
    _socket: socket.socket | None = field(default=None, init=False)
    _complained: bool = field(default=False, init=False)

    def send(self, *assignments: str) -> bool:
        """Send one datagram with these lines, `NAME=value` each. Returns whether the manager has it. Does not fail."""
        data = "\n".join(assignments).encode("utf-8", "replace")
        try:
            if self._socket is None:
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
                self._socket.setblocking(False)
            self._socket.sendto(data, _socket_name(self._address))
        except BlockingIOError:
            return False  # the manager is busy: what matters is sent again
        except (OSError, ValueError, AttributeError) as error:  # the last without Unix sockets, as on Windows
            if not self._complained:
                self._complained = True
                self.log.warn(
                    "the service manager cannot be told how this process is: NOTIFY_SOCKET={address}: {error}; it may "
                    "end the process when its start takes longer than the manager allows",
                    address=self._address,
                    error=error,
                )
            return False
        return True

    def close(self) -> None:
        """Close the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _socket_name(address: str) -> bytes:
    """The address as the system takes it. Raises ValueError for a kind that this does not know, such as vsock."""
    if not address.startswith(("/", "@")):
        raise ValueError("only a path, or @ and a name, is supported")
    name = os.fsencode(address)
    return b"\0" + name[1:] if address.startswith("@") else name


class ServiceManager(Service):
    """
    Tells the manager of the readiness, the state's text and, at half of the watchdog's interval, that the reactor runs.

    It is the first of the services: it starts first, stops last, and sends signs of life for as long as the others
    stop. `at_stop` is the last of them, and so the first to stop.

    READY=1 is sent once, when the state is ready for the first time. While it is `starting`, and after STOPPING=1, the
    manager is asked for more time. What work then is under way has limits of its own: the settings of readiness,
    benchmark and drain. A process that is neither ready nor starting asks for nothing: the manager's own limit applies.
    """

    def __init__(
        self,
        notifier: Notifies,
        clock: IReactorTime,
        state: Callable[[], ServiceState],
        watchdog_seconds: float = 0.0,
        redaction: Redaction | None = None,
    ) -> None:
        """`redaction` hides secrets in the texts: every user of the machine may see them."""
        self._notifier = notifier
        self._clock = clock
        self._state = state
        self._redaction = redaction or Redaction()
        self._is_ready = self._is_stopping = False
        self._text = ""
        self._extended_at = -math.inf
        self.at_stop = AtStop(self.stopping)
        self._loops = [SurvivingLoop(clock, STATUS_INTERVAL, self._tell, what="the service manager's news")]
        if watchdog_seconds > 0:
            half = watchdog_seconds / 2
            self._loops.append(SurvivingLoop(clock, half, self._sign_of_life, what="the watchdog's sign of life"))

    def startService(self) -> None:
        """Tell the state from now on."""
        super().startService()  # type: ignore[no-untyped-call]
        for loop in self._loops:
            loop.startService()

    def stopService(self) -> Deferred[None]:
        """Send nothing more. Fires at once."""
        super().stopService()  # type: ignore[no-untyped-call]
        return Deferred.fromCoroutine(self._end())

    async def _end(self) -> None:
        for loop in self._loops:
            await loop.stopService()
        self._notifier.close()

    def stopping(self) -> None:
        """Tell that the process has begun to stop. `at_stop` calls it, where there is a tree of services."""
        self._is_stopping = True
        self._extended_at = self._clock.seconds()
        self._notifier.send("STOPPING=1", "STATUS=stopping: requests in flight may end", _MORE_TIME)

    def _tell(self) -> None:
        if self._is_stopping:
            self._extend()
            return
        state = self._state()
        text = _one_line(self._redaction.without_secrets(state.text))
        if state.ready and not self._is_ready:
            self._is_ready = self._notifier.send("READY=1", f"STATUS={text}")
            if self._is_ready:
                self._text = text
        elif text != self._text and self._notifier.send(f"STATUS={text}"):
            self._text = text
        if state.starting and not self._is_ready:
            self._extend()

    def _extend(self) -> None:
        now = self._clock.seconds()
        if now - self._extended_at >= EXTEND_INTERVAL and self._notifier.send(_MORE_TIME):
            self._extended_at = now

    def _sign_of_life(self) -> None:
        self._notifier.send("WATCHDOG=1")


def service_manager(
    environ: Mapping[str, str], clock: IReactorTime, state: Callable[[], ServiceState], *secrets: str
) -> ServiceManager | None:
    """What tells `state`, without these secrets, to the manager that started this process; None if there is none."""
    settings = ManagerSettings.read(environ, os.getpid())
    if settings is None:
        return None
    return ServiceManager(Notifier(settings.address), clock, state, settings.watchdog_seconds, Redaction(*secrets))


_MORE_TIME: Final = f"EXTEND_TIMEOUT_USEC={int(EXTEND_SECONDS * _MICROSECONDS)}"


class AtStop(Service):
    """Calls a function when it stops."""

    def __init__(self, call: Callable[[], None]) -> None:
        self._call = call

    def stopService(self) -> None:
        """Call it."""
        super().stopService()  # type: ignore[no-untyped-call]
        self._call()


def _one_line(text: str) -> str:
    """`text` as the value of a status: bounded, and without control characters.

    A line break would begin another assignment, and systemd ignores a datagram with a zero byte.
    """
    return " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())[:TEXT_MAX]

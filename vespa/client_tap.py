"""What `twistd vespa-client` runs: the options, the environment, the reactor, the client proxy."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

from twisted.application.service import IService, MultiService
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.logger import Logger, LogLevel

from vespa.client.command.launch import LaunchError, MakeClient, launch
from vespa.client.command.waiting import WaitingLog
from vespa.config.client_reading import GivenOptions, OptionsError, Reading, read
from vespa.runtime.logging import LineObserver
from vespa.runtime.services import CoroutineService
from vespa.runtime.signals import Signals, Stoppable, fail
from vespa.tap import install_reactor, raise_file_limit, settle_memory, use_our_log

if TYPE_CHECKING:
    from vespa.client.service import ClientService

log = Logger()

# twistd finds its log by a name, and asks for it without arguments.
_observer: LineObserver | None = None


class Options(GivenOptions):
    """The client's options; what is not given is read from the environment, and from files the account's key."""

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        """`environ` is this process's own unless another is given."""
        super().__init__()
        self.environ = os.environ if environ is None else environ

    def postOptions(self) -> None:
        """Make settings and install the reactor; raises SystemExit with what is wrong."""
        global _observer
        try:
            self.reading: Reading = read(self.take(), self.environ)
        except OptionsError as error:
            raise SystemExit(f"error: {error}") from None
        settings = self.reading.settings
        secrets = (settings.endpoint_key, settings.account_key, settings.token)
        level = LogLevel.debug if settings.debug else LogLevel.info
        self.observer = _observer = LineObserver(sys.__stdout__, level, secrets)
        install_reactor(settings.transport)
        if self.parent is not None:
            use_our_log(self.parent, f"{__name__}.log_observer")


def log_observer() -> LineObserver:
    """The log of this process, on its standard output; made with the options, whose secrets it hides."""
    assert _observer is not None
    return _observer


class Client(CoroutineService):
    """The client proxy. Where there cannot be one, the log says why and the process ends with exit code 1."""

    def __init__(
        self, reactor: Any, reading: Reading, hide: Callable[[str], None], *, make: MakeClient | None = None
    ) -> None:
        """`hide` is told a key that was found, for it not to be logged."""
        self._reactor = reactor
        self._reading = reading
        self._hide = hide
        self._make = make
        self._launched: ClientService | None = None

    async def run(self) -> None:
        """Find the key if need be, and listen."""
        for line in self._reading.warnings:
            log.warn("{line}", line=line)
        settings = self._reading.settings
        waiting = WaitingLog(self._reactor)
        try:
            launched, settings = await launch(
                self._reactor, settings, on_wait=waiting, hide=self._hide, make=self._make
            )
        except LaunchError as error:
            log.critical("{error}", error=str(error))
            fail(self._reactor)
            return
        except CancelledError:
            raise  # stopped meanwhile
        except Exception:
            log.failure("the client failed")
            fail(self._reactor)
            return
        self._launched = launched
        settle_memory()
        log.info("ready: {url} → endpoint {endpoint}", url=launched.url, endpoint=settings.endpoint)

    def stopService(self) -> Deferred[None]:
        """Listen no more. Fires when the requests under way have ended, or were cut."""
        launched, self._launched = self._launched, None
        stopped = super().stopService()
        return stopped.addCallback(lambda _: launched.stopService() if launched is not None else succeed(None))


def makeService(options: Options) -> IService:
    """The client's tree."""
    from twisted.internet import reactor

    raise_file_limit()
    root = MultiService()
    Signals(cast(Stoppable, reactor)).setServiceParent(root)  # type: ignore[no-untyped-call]
    Client(reactor, options.reading, options.observer.hide).setServiceParent(root)  # type: ignore[no-untyped-call]
    return root

"""The plugin of `twistd vespa-client`."""

from __future__ import annotations

from typing import Any

from twisted.application.service import IService, MultiService
from twisted.logger import Logger

from vespa.client.command.launch import MakeClient
from vespa.client.command.serve import Command
from vespa.client.command.start_line import start_line
from vespa.client.command.waiting import WaitingLog
from vespa.config.client_reading import read
from vespa.config.command_line import TwistdOptions
from vespa.config.commands import TWISTD_CLIENT
from vespa.config.reader import SettingsError
from vespa.runtime import process
from vespa.runtime.signals import fail

log = Logger()


class Options(TwistdOptions):
    """The client's options. Missing ones come from the environment, and the account's key from files."""

    line = TWISTD_CLIENT

    def postOptions(self) -> None:
        """Make the settings and install the reactor. Raises SystemExit with what is wrong."""
        try:
            self.reading = read(self.given, self.environ)
        except SettingsError as error:
            raise SystemExit(f"error: {error}") from None
        settings = self.reading.settings
        process.prepare(
            self.parent,
            settings.transport,
            settings.log_level,
            self.reading.secrets,
            log_format=settings.log_format,
        )


def make_command(reactor: Any, options: Options, *, make: MakeClient | None = None) -> Command:
    """The client as a service. If it cannot start, the log gives the reason and the process exits with code 1."""
    return Command(
        reactor,
        options.reading,
        say=lambda text: log.info("{text}", text=text),
        complain=lambda why: log.critical("{why}", why=why),
        on_wait=WaitingLog(reactor),
        hide=process.log_observer().hide,
        make=make,
        ended=lambda code: fail(reactor, code) if code else None,
        environ=options.environ,
    )


def makeService(options: Options) -> IService:
    from twisted.internet import reactor

    root = MultiService()
    process.make_tree(reactor, root)
    for line in options.reading.warnings:
        log.warn("{line}", line=line)
    log.info("{line}", line=start_line(options.reading.settings, reactor))
    make_command(reactor, options).setServiceParent(root)  # type: ignore[no-untyped-call]
    return root

"""`vespa-proxy client`: reads options, asks questions at a terminal, and runs the proxy until a signal ends it."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TextIO, cast

from twisted.logger import Logger, LogLevel

from vespa.client.command.questions import Questions
from vespa.client.command.serve import Command
from vespa.client.command.start_line import start_line
from vespa.client.command.waiting import LiveLine, WaitingLog
from vespa.config.client_reading import read
from vespa.config.commands import CLIENT
from vespa.config.reader import SettingsError
from vespa.runtime import process
from vespa.runtime.logging import chosen_format
from vespa.runtime.signals import flush_and_exit
from vespa.runtime.standard_streams import writable
from vespa.runtime.terminal import Terminal

log = Logger()


def _log_text(text: str) -> None:
    log.info("{text}", text=text)


def main(argv: Sequence[str]) -> int:
    """Run the command in this process's reactor. Returns the exit code; raises SystemExit for --help and --version."""
    out = writable(sys.stdout)
    terminal, errors = Terminal(out, os.environ), Terminal(writable(sys.stderr), os.environ)
    # Questions need somebody who can see and answer them: a terminal for input and output.
    can_ask = sys.stdin is not None and sys.stdin.isatty() and out.isatty()
    try:
        reading = read(CLIENT.parse(argv), os.environ, can_ask=can_ask)
    except SettingsError as error:
        errors.print(f"vespa-proxy client: {error}")
        return 2
    for line in reading.warnings:
        errors.print(f"note: {line}")
    settings = reading.settings
    reactor = process.install_reactor(settings.transport)
    # The command itself prints better messages about the start and the end.
    quiet = ["twisted", "log_legacy", "vespa.proxy.listener"] if not settings.debug else []
    if quiet and out.isatty():
        quiet.append("vespa.observability.admin")
    log_format = chosen_format(settings.log_format, out)
    observer = process.begin_log(
        cast(TextIO, terminal), settings.log_level, reading.secrets, quiet, log_format=log_format
    )
    questions = Questions(reactor, terminal)
    if not reading.listing:
        # People at a terminal see this with --debug alone.
        log.emit(LogLevel.debug if out.isatty() else LogLevel.info, "{line}", line=start_line(settings, reactor))
    command = Command(
        reactor,
        reading,
        say=terminal.print if log_format == "text" or reading.listing else _log_text,
        complain=lambda why: errors.print(f"vespa-proxy client: {why}"),
        asks=questions if can_ask else None,
        friendly=out.isatty(),
        on_wait=LiveLine(reactor, terminal.live) if terminal.is_terminal else WaitingLog(reactor),
        hide=observer.hide,
        environ=os.environ,
    )
    code = process.run(reactor, command)
    if questions.waiting:
        flush_and_exit(code)
    return code

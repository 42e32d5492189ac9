"""`vespa-proxy client`: options, questions where somebody is there to answer, and the proxy until a signal ends it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final, TextIO, cast

from twisted.internet.defer import CancelledError, Deferred

from vespa.client.command.choosing import choose, endpoints_of, table
from vespa.client.command.launch import LaunchError, MakeClient, OnWait, console_of, launch
from vespa.client.command.questions import Asks, Questions
from vespa.client.command.waiting import LiveLine, WaitingLog
from vespa.client.console import ConsoleError
from vespa.config.client import ClientSettings
from vespa.config.client_reading import ClientReading, read
from vespa.config.commands import CLIENT
from vespa.config.reader import SettingsError
from vespa.runtime import process
from vespa.runtime.signals import flush_and_exit
from vespa.runtime.standard_streams import writable

INTERRUPTED: Final = 130


class Command(process.Main):
    """
    One run of the client, for `vespa-proxy client` and for twistd.

    `say` and `complain` tell a person what there is and what went wrong; `asks` is None where nobody can be asked.
    """

    def __init__(
        self,
        reactor: Any,
        reading: ClientReading,
        *,
        say: Callable[[Any], object],
        complain: Callable[[str], object],
        on_wait: OnWait,
        hide: Callable[[str], None],
        asks: Asks | None = None,
        friendly: bool = False,
        make: MakeClient | None = None,
        ended: Callable[[int], object] | None = None,
    ) -> None:
        """`friendly`: say what to type where, too."""
        super().__init__(reactor, ended)
        self._reading = reading
        self._say = say
        self._complain = complain
        self._on_wait = on_wait
        self._hide = hide
        self._asks = asks
        self._friendly = friendly
        self._make = make
        self._is_ready = False

    async def main(self) -> int:
        """List endpoints, or serve until cancelled; returns the exit code."""
        try:
            await (self._list() if self._reading.listing else self._serve())
            return 0
        except CancelledError:
            return 0 if self._is_ready or self._asks is None else INTERRUPTED
        except EOFError:
            self._complain("nothing was chosen")
        except (LaunchError, ConsoleError) as error:
            self._complain(str(error))
        return 1

    async def _list(self) -> None:
        settings = self._reading.settings
        with console_of(self._reactor, settings) as console:
            _, rows = await endpoints_of(console, settings.account_key, self._asks)
        self._say(table(rows) if rows else "the account has no endpoints")

    async def _serve(self) -> None:
        settings = self._reading.settings
        if not settings.endpoint and self._asks is not None:
            with console_of(self._reactor, settings) as console:
                settings = await choose(settings, console, self._asks, port_given=self._reading.port_given)
        client, settings = await launch(
            self._reactor, settings, on_wait=self._on_wait, hide=self._hide, make=self._make
        )
        try:
            self._is_ready = True
            self._say(f"ready: {client.url} → endpoint {settings.endpoint}")
            if self._friendly:
                self._say(how_to_use(client.url, settings))
            process.settle_memory()
            await Deferred()
        finally:
            await client.stopService()
            self._on_wait("", 0.0)


def how_to_use(url: str, settings: ClientSettings) -> str:
    """What to type where, for people."""
    base = url.replace("//127.0.0.1:", "//localhost:")
    key, header = '"unused"', ""
    if settings.token:
        key, header = 'os.environ["VESPA_CLIENT_TOKEN"]', ' -H "Authorization: Bearer $VESPA_CLIENT_TOKEN"'
    return (
        f'\n  OpenAI(base_url="{base}/v1", api_key={key})\n  curl {base}/v1/models{header}\n\n'
        "Any other HTTP client will do as well. Ctrl-C ends it.\n"
    )


def main(argv: Sequence[str]) -> int:
    """Run the command in this process's reactor and return the exit code; SystemExit for --help and --version."""
    from vespa.runtime.terminal import Terminal  # only now: `twistd vespa-client` needs no rich

    out = writable(sys.stdout)
    terminal, errors = Terminal(out, os.environ), Terminal(writable(sys.stderr), os.environ)
    # Whoever can see what is asked and answer it: a terminal at either end.
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
    # Of the start and the end there are better words on the same screen.
    quiet = () if settings.debug else ("twisted", "log_legacy", "vespa.proxy.listener")
    observer = process.begin_log(cast(TextIO, terminal), settings.log_level, reading.secrets, quiet)
    questions = Questions(reactor, terminal)
    command = Command(
        reactor,
        reading,
        say=terminal.print,
        complain=lambda why: errors.print(f"vespa-proxy client: {why}"),
        asks=questions if can_ask else None,
        friendly=out.isatty(),
        on_wait=LiveLine(reactor, terminal.live) if terminal.is_terminal else WaitingLog(reactor),
        hide=observer.hide,
    )
    code = process.run(reactor, command)
    if questions.waiting:
        flush_and_exit(code)
    return code

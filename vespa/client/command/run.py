"""`vespa-proxy client`: options, questions where somebody is there to answer, and the proxy until a signal ends it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final, TextIO, cast

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import FilteringLogObserver, Logger, LogLevel, LogLevelFilterPredicate, globalLogBeginner
from twisted.python import usage

from vespa.client.command.choosing import choose, endpoints_of, table
from vespa.client.command.launch import LaunchError, MakeClient, OnWait, console_of, launch
from vespa.client.command.questions import Asks, Questions
from vespa.client.command.waiting import LiveLine, WaitingLog
from vespa.client.console import ConsoleError
from vespa.config.client import ClientSettings
from vespa.config.client_options import OPTIONS
from vespa.config.client_reading import GivenOptions, OptionsError, Reading, read
from vespa.runtime.logging import LineObserver
from vespa.runtime.signals import Signals, flush_and_exit, stop
from vespa.runtime.standard_streams import writable
from vespa.runtime.terminal import Terminal
from vespa.tap import install_reactor, raise_file_limit, settle_memory

log = Logger()

INTERRUPTED: Final = 130


class Options(GivenOptions):
    """The command's own."""

    synopsis = "Usage: vespa-proxy client [options]"
    optFlags = [[row.flag, None, row.usage] for row in OPTIONS if row.command_only]


class Command:
    """
    One run of the command. `code` is its exit code once it has ended.

    `asks` is None where nobody can be asked; `errors` is for what went wrong.
    """

    def __init__(
        self,
        reactor: Any,
        reading: Reading,
        *,
        terminal: Terminal,
        errors: Terminal,
        asks: Asks | None,
        on_wait: OnWait,
        hide: Callable[[str], None],
        make: MakeClient | None = None,
    ) -> None:
        self.code = 0
        self._reactor = reactor
        self._reading = reading
        self._terminal = terminal
        self._errors = errors
        self._asks = asks
        self._on_wait = on_wait
        self._hide = hide
        self._make = make
        self._is_ready = False
        self._running: Deferred[None] | None = None
        self._ended: Deferred[None] = Deferred()

    def start(self) -> None:
        """Begin; at the end the reactor is stopped."""
        self._running = Deferred.fromCoroutine(self._run())
        self._running.addBoth(lambda _: stop(self._reactor))

    def end(self) -> Deferred[None]:
        """End in order, whatever it is doing: requests under way are waited for. Fires when that is done."""
        if self._running is None:
            self._ended.callback(None)
        else:
            self._running.cancel()
        return self._ended

    async def _run(self) -> None:
        try:
            await (self._list() if self._reading.listing else self._serve())
        except CancelledError:
            self.code = 0 if self._is_ready or self._asks is None else INTERRUPTED
        except EOFError:
            self._fail("nothing was chosen")
        except (LaunchError, ConsoleError) as error:
            self._fail(str(error))
        except Exception:
            log.failure("the client failed")
            self.code = 1
        finally:
            self._ended.callback(None)

    def _fail(self, why: str) -> None:
        self._errors.print(f"vespa-proxy client: {why}")
        self.code = 1

    async def _list(self) -> None:
        settings = self._reading.settings
        with console_of(self._reactor, settings) as console:
            _, rows = await endpoints_of(console, settings.account_key, self._asks)
        self._terminal.print(table(rows) if rows else "the account has no endpoints")

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
            self._terminal.print(f"ready: {client.url} → endpoint {settings.endpoint}")
            if self._terminal.file.isatty():
                self._terminal.print(how_to_use(client.url, settings))
            settle_memory()
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
    out = writable(sys.stdout)
    terminal, errors = Terminal(out, os.environ), Terminal(writable(sys.stderr), os.environ)
    # Whoever can see what is asked and answer it: a terminal at either end.
    can_ask = sys.stdin is not None and sys.stdin.isatty() and out.isatty()
    options = Options()
    try:
        options.parseOptions(list(argv))  # type: ignore[no-untyped-call]
        reading = read(options.take(), os.environ, can_ask=can_ask)
    except (usage.UsageError, OptionsError) as error:
        errors.print(f"vespa-proxy client: {error}")
        return 2
    for line in reading.warnings:
        errors.print(f"note: {line}")
    install_reactor(reading.settings.transport)
    from twisted.internet import reactor as installed

    reactor = cast(Any, installed)
    observer = _begin_log(cast(TextIO, terminal), reading.settings)
    raise_file_limit()
    questions = Questions(reactor, terminal)
    command = Command(
        reactor,
        reading,
        terminal=terminal,
        errors=errors,
        asks=questions if can_ask else None,
        on_wait=LiveLine(reactor, terminal.live) if terminal.is_terminal else WaitingLog(reactor),
        hide=observer.hide,
    )
    Signals(reactor).startService()
    reactor.callWhenRunning(command.start)
    reactor.addSystemEventTrigger("before", "shutdown", command.end)
    reactor.run()
    if questions.waiting:
        flush_and_exit(command.code)
    return command.code


def _begin_log(stream: TextIO, settings: ClientSettings) -> LineObserver:
    secrets = (settings.endpoint_key, settings.account_key, settings.token)
    observer = LineObserver(stream, LogLevel.debug if settings.debug else LogLevel.info, secrets)
    predicate = LogLevelFilterPredicate(LogLevel.debug)
    if not settings.debug:
        # Of the start and the end there are better words on the same screen.
        for namespace in ("twisted", "log_legacy", "vespa.proxy.listener"):
            predicate.setLogLevelForNamespace(namespace, LogLevel.warn)
    globalLogBeginner.beginLoggingTo([FilteringLogObserver(observer, [predicate])], redirectStandardIO=False)
    return observer

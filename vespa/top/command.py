"""`vespa-proxy top`: reads options, and shows the figures of an admin port until a key or a signal ends it."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from typing import Any, TextIO, cast
from urllib.parse import parse_qs, urlsplit

from attrs import evolve

from vespa.config.commands import TOP
from vespa.config.reader import Reading, SettingsError
from vespa.config.top import TopSettings
from vespa.runtime import process
from vespa.runtime.signals import take_signals
from vespa.runtime.standard_streams import TolerantStream, writable
from vespa.runtime.terminal import Terminal
from vespa.runtime.trust import trust_roots
from vespa.top.keys import END, Keys
from vespa.top.screen import Screen, Table
from vespa.top.source import Place, Source, find
from vespa.top.top import JSONLines, Shows, Top

QUIT_KEYS = ("q", "Q", END)


def read(argv: Sequence[str], environ: Any) -> tuple[TopSettings, Place | None, Any]:
    """The settings, the place to ask (None: the first one), and the roots to trust. Raises SettingsError."""
    reading = Reading(TopSettings, environ, TOP.parse(argv))
    settings = reading.settings()
    place = trust = None
    if settings.url:
        try:
            place = Place.parse(settings.url)
        except ValueError as error:
            raise SettingsError([f"--url: {error}"]) from None
        if not settings.token and not place.socket:  # as in the URL that a browser is given
            given = parse_qs(urlsplit(settings.url).query).get("token", [""])[0]
            settings = evolve(settings, token=given)
    try:
        trust = trust_roots(settings.ca_file)
    except (OSError, ValueError) as error:
        raise SettingsError([f"--ca-file={settings.ca_file!r}: {error or type(error).__name__}"]) from None
    return settings, place, trust


def main(argv: Sequence[str]) -> int:
    """Run the command in this process's reactor. Returns the exit code; raises SystemExit for --help and --version."""
    out, errors = TolerantStream(writable(sys.stdout)), Terminal(writable(sys.stderr), os.environ)

    def complain(why: str) -> None:
        errors.print(f"vespa-proxy top: {why}")

    try:
        settings, place, trust = read(argv, os.environ)
    except SettingsError as error:
        complain(str(error))
        return 2
    reactor = process.install_reactor()
    process.begin_log(sys.stderr, "error", [settings.token])
    terminal = Terminal(cast(TextIO, out), os.environ)
    once = settings.once or not (terminal.is_terminal or settings.json)
    where = [str(place or "")]

    async def ask() -> tuple[Source, dict[str, Any]]:
        if place is None:
            source, document = await find(reactor, token=settings.token, trust=trust)
        else:
            source = Source(reactor, place, token=settings.token, trust=trust)
            document = await source.document()
        where[0] = str(source.place)
        return source, document

    shows: Shows
    if settings.json:
        shows = JSONLines(out.write, indent=2 if once else None)
    elif once:
        shows = Table(terminal)
    else:
        keys = Keys(reactor, 0, lambda key: top.stopService() if key in QUIT_KEYS else None)
        screen = shows = Screen(terminal, lambda: where[0], keys.start, keys.stop)
        if hasattr(signal, "SIGWINCH"):
            resized = signal.SIGWINCH
            take_signals(reactor, lambda number, frame: reactor.callFromThread(screen.redraw), (resized,))
    top = Top(reactor, ask, shows, complain, once=once, broken=lambda: out.problem)
    return process.run(reactor, top)

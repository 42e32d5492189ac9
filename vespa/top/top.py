"""One run of `vespa-proxy top`: it asks, shows, and asks again when the connection is lost."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from twisted.internet.defer import CancelledError

from vespa.runtime import process
from vespa.runtime.deadlines import sleep
from vespa.runtime.standard_streams import OutputError
from vespa.top.document import merged
from vespa.top.source import SourceError

AGAIN_SECONDS: Final = 1.0


class Asks(Protocol):
    """A `Source`."""

    async def document(self) -> dict[str, Any]: ...

    async def follow(self, on_event: Callable[[Mapping[str, Any]], object]) -> None: ...


class Shows(Protocol):
    """Where the figures are shown: a screen, or lines."""

    def start(self) -> None: ...

    def show(self, document: Mapping[str, Any], lost: str = "") -> None:
        """Show a document. `lost`: it is old, and why."""

    def stop(self) -> None: ...


class Top(process.Main):
    """
    Shows the figures until it is stopped, or once.

    `find` returns the source and its first document, or raises SourceError. `complain` prints an error.
    `broken` returns why what is shown can no longer be written, None while it can.
    """

    def __init__(
        self,
        reactor: Any,
        find: Callable[[], Any],
        shows: Shows,
        complain: Callable[[str], object],
        *,
        once: bool = False,
        broken: Callable[[], Exception | None] = lambda: None,
        ended: Callable[[int], object] | None = None,
    ) -> None:
        super().__init__(reactor, ended)
        self._find = find
        self._shows = shows
        self._complain = complain
        self._once = once
        self._broken = broken
        self._document: Mapping[str, Any] = {}

    async def main(self) -> int:
        """Show the figures. Returns 0, or 1 if there were none at the beginning, or if they cannot be written."""
        try:
            source, self._document = await self._find()
        except SourceError as error:
            self._complain(str(error))
            return 1
        except CancelledError:
            return 0
        self._shows.start()
        try:
            self._shows.show(self._document)
            if not self._once:
                await self._go_on(source)
        except CancelledError:
            pass
        finally:
            self._shows.stop()
        return self._end()

    def _end(self) -> int:
        """The exit code. A reader that has closed its pipe has seen enough."""
        problem = self._broken()
        if problem is None or isinstance(problem, BrokenPipeError):
            return 0
        self._complain(str(OutputError(problem)))
        return 1

    async def _go_on(self, source: Asks) -> None:
        while self._broken() is None:
            try:
                await source.follow(self._take)
                why = "the connection ended"
            except SourceError as error:
                why = str(error)
            while why:
                self._shows.show(self._document, f"{why}; trying again")
                await sleep(AGAIN_SECONDS, self._reactor)
                try:
                    self._document = await source.document()
                except SourceError as error:
                    why = str(error)
                else:
                    why = ""
            self._shows.show(self._document)

    def _take(self, event: Mapping[str, Any]) -> None:
        self._document = merged(self._document, event)
        self._shows.show(self._document)
        if self._broken() is not None:
            self.stopService()


class JSONLines:
    """Prints each document as a line of JSON; with `indent` as a text for people."""

    def __init__(self, write: Callable[[str], object], *, indent: int | None = None) -> None:
        self._write = write
        self._indent = indent

    def start(self) -> None:
        """Nothing to do."""

    stop = start

    def show(self, document: Mapping[str, Any], lost: str = "") -> None:
        """Print it, unless it is old."""
        if not lost:
            self._write(json.dumps(document, indent=self._indent) + "\n")

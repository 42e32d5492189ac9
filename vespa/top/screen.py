"""Shows the figures on a terminal: as a live screen, or once as a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from rich.live import Live
from rich.text import Text

from vespa.runtime.terminal import Terminal
from vespa.top.view import view

BELOW: Final = "q ends it"


class Table:
    """Prints each document."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal

    def start(self) -> None:
        """Nothing to do."""

    stop = start

    def show(self, document: Mapping[str, Any], lost: str = "") -> None:
        """Print it, unless it is old."""
        if not lost:
            self._terminal.print(view(document), soft_wrap=False)


class Screen:
    """
    Keeps a screen of its own, and gives the terminal's back at the end.

    `place` is where the figures come from. `on_start` and `on_stop` are called when the screen appears and has gone.
    """

    def __init__(
        self,
        terminal: Terminal,
        place: Callable[[], str],
        on_start: Callable[[], object] = lambda: None,
        on_stop: Callable[[], object] = lambda: None,
    ) -> None:
        self._terminal = terminal
        self._place = place
        self._on_start = on_start
        self._on_stop = on_stop
        self._live: Live | None = None
        self._shown: tuple[Mapping[str, Any], str] = ({}, "")

    def start(self) -> None:
        """Show an empty screen."""
        # Lines are cut at the terminal's width, whatever the rule for other output.
        self._terminal.soft_wrap = False
        self._live = Live(
            Text(""),
            console=self._terminal,
            screen=True,
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._live.start()
        self._on_start()

    def show(self, document: Mapping[str, Any], lost: str = "") -> None:
        """Show a document in the place of the last one."""
        self._shown = (document, lost)
        self.redraw()

    def redraw(self) -> None:
        """Draw it again: the terminal has another size, maybe."""
        if self._live is not None:
            document, lost = self._shown
            below = f"{self._place()}   {BELOW}"
            self._live.update(view(document, height=self._terminal.height, below=below, lost=lost), refresh=True)

    def stop(self) -> None:
        """Give the terminal its screen back."""
        live, self._live = self._live, None
        if live is not None:
            live.stop()
            self._terminal.soft_wrap = True
            self._on_stop()

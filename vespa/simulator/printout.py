"""The output of the demonstration: headings, events, text, tables and commands."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from rich.constrain import Constrain
from rich.live import Live
from rich.padding import Padding
from rich.table import Table
from rich.text import Text
from twisted.internet.interfaces import IReactorTime

from vespa.runtime.terminal import Terminal

WIDEST: Final = 100
"""The maximum width on a terminal. Without a terminal no line is wrapped."""

_INDENT: Final = (0, 0, 0, 2)


class Printout:
    """Prints to a terminal or a pipe. Times of events are in seconds since its creation."""

    def __init__(self, terminal: Terminal, clock: IReactorTime) -> None:
        self._terminal = terminal
        self._clock = clock
        self._began = clock.seconds()
        self._last_event = ("", "")

    @property
    def _width(self) -> int:
        return min(self._terminal.width, WIDEST) if self._terminal.is_terminal else self._terminal.width

    def heading(self, text: str) -> None:
        """Begin a part, after an empty line."""
        self._terminal.print()
        self._terminal.print(Text(text, style="bold"))

    def text(self, text: str, style: str = "") -> None:
        """Print an indented paragraph."""
        shown = Padding(Text(text, style=style, no_wrap=False, overflow="fold"), _INDENT, expand=False)
        self._terminal.print(Constrain(shown, self._width))

    def good(self, text: str) -> None:
        """Print a success."""
        self.text(f"ok: {text}", "green")

    def bad(self, text: str) -> None:
        """Print an error."""
        self.text(f"error: {text}", "red")

    def event(self, who: str, what: str) -> None:
        """Print an event of a part of the service, unless it equals the last one."""
        if (who, what) == self._last_event:
            return
        self._last_event = who, what
        row = Table.grid(padding=(0, 2))
        row.add_column(width=8, justify="right", no_wrap=True)
        row.add_column(width=10, no_wrap=True)
        row.add_column(no_wrap=False, overflow="fold")
        row.add_row(f"{self._clock.seconds() - self._began:.1f} s", who, what)
        self._terminal.print(Constrain(row, self._width), style="dim", soft_wrap=False)

    @contextmanager
    def flow(self) -> Iterator[Callable[[str], None]]:
        """Print text in pieces: call the returned function with each. Without a terminal it is printed at the end."""
        if not self._terminal.is_terminal:
            pieces: list[str] = []
            yield pieces.append
            self.text("".join(pieces))
            return
        text = Text(no_wrap=False, overflow="fold")
        shown = Constrain(Padding(text, _INDENT, expand=False), self._width)
        with Live(
            shown, console=self._terminal, auto_refresh=False, redirect_stdout=False, redirect_stderr=False
        ) as live:

            def take(piece: str) -> None:
                text.append_text(self._terminal.render_str(piece))
                live.refresh()

            yield take

    def table(self, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Print a table with columns of numbers aligned to the right."""
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
        for place, heading in enumerate(headings):
            is_number = all(row[place].isdigit() for row in rows)
            table.add_column(heading, justify="right" if is_number else "left", no_wrap=False, overflow="fold")
        for row in rows:
            table.add_row(*row)
        self._terminal.print(Constrain(Padding(table, _INDENT, expand=False), self._width), soft_wrap=False)

    def command(self, meaning: str, *parts: str) -> None:
        """Print a command for pasting into a shell, with a line for each part and no other line breaks."""
        self._terminal.print()
        self._terminal.print(Text(f"  # {meaning}", style="dim"))
        self._terminal.print(Text("  " + " \\\n    ".join(parts)))

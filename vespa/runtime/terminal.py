"""A terminal to write on: rich's Console under the rules that all of our commands keep."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TextIO, cast

from rich.console import Console
from rich.live import Live
from rich.text import Text

from vespa.runtime.standard_streams import TolerantStream

# The latter ranges begin a line, or have what follows shown from right to left.
_CONTROL: Final = dict.fromkeys(
    {*range(32), *range(0x7F, 0xA0), *range(0x2028, 0x202F), *range(0x2066, 0x206A)} - {ord("\n"), ord("\t")}, " "
)

_UNLIMITED: Final = 10_000


class Terminal(Console):
    """
    Writes to `stream`; `width` in columns is the terminal's own at each time, or COLUMNS, unless it is given. A pipe or
    a file has none: no table is made narrower for it.

    - A string is shown as it is: it is no markup, and control characters in it become spaces. So text from the network
      cannot drive the terminal. A `rich.text.Text` is shown as it was made: make one of our own words alone.
    - Where the stream is no terminal, or TERM is "dumb", `is_terminal` is False and no escape sequence is written.
      With NO_COLOR there are neither colours nor styles.
    - A line is left to the terminal to wrap, so that it can be copied whole. With `soft_wrap=False` rich wraps it.
    - A stream that nobody reads any more is no error.
    """

    def __init__(self, stream: TextIO, environ: Mapping[str, str], *, width: int | None = None) -> None:
        is_terminal = stream.isatty() and environ.get("TERM") != "dumb"
        super().__init__(
            file=cast(TextIO, TolerantStream(stream)),
            # Said here, because rich would take a pipe for a terminal where FORCE_COLOR or TTY_INTERACTIVE is set.
            force_terminal=is_terminal,
            force_interactive=is_terminal,
            color_system=None if environ.get("NO_COLOR") else "auto",
            force_jupyter=False,
            width=width or (None if is_terminal else _UNLIMITED),
            soft_wrap=True,
            markup=False,
            emoji=False,
            highlight=False,
            # rich would draw nothing at 0 columns, and fail at other digits than ASCII's.
            _environ={
                name: text
                for name, text in environ.items()
                if name not in ("COLUMNS", "LINES") or (text.isascii() and text.isdigit() and int(text) > 0)
            },
        )
        self._line: Live | None = None

    def render_str(self, text: str, **options: Any) -> Text:
        """Make what is shown of a string; rich calls this for every one, those in tables included."""
        return super().render_str(text.translate(_CONTROL), **options)

    def show_cursor(self, show: bool = True) -> bool:
        """Do nothing. A cursor that a live line hid would stay hidden if the process were killed."""
        return False

    def live(self, text: str) -> None:
        """Keep one line at the bottom, in place of the last one, whatever else is written meanwhile; "" for none."""
        line = self.render_str(text.replace("\n", " ").strip(), overflow="ellipsis")
        line.no_wrap = True
        if not text:
            if self._line is not None:
                self._line.stop()
                self._line = None
        elif self._line is not None:
            self._line.update(line, refresh=True)
        else:
            self._line = Live(
                line, console=self, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False
            )
            self._line.start(refresh=True)

    # What a log writes to, so that its lines go above the live one.

    def write(self, text: str) -> int:
        """Write whole lines as they are: none is wrapped or cut."""
        if self._line is None:  # as for most lines of a busy log: rich takes a while for each
            self.file.write(text.translate(_CONTROL))
        else:
            self.out(text, end="", highlight=False)
        return len(text)

    def flush(self) -> None:
        """Do nothing: every write is flushed."""

#!/usr/bin/env python3
"""Record `vespa-proxy demo --once` as a picture for the README, which shows its lines as they came.

    .venv/bin/python scripts/record_demo.py            writes docs/demo.svg
    .venv/bin/python scripts/record_demo.py FILE.svg OPTION...    further options of the demo

The picture needs nothing else: no script, no font and no address. Pauses are shortened.
"""

from __future__ import annotations

import argparse
import io
import re
import sys
import time
from pathlib import Path

from vespa.runtime.terminal import Terminal
from vespa.simulator.demo import main

COMMAND = "vespa-proxy demo --once"
WIDTH = 100
LONGEST_PAUSE = 1.2
"""Seconds. A worker takes longer to start."""

FORMAT = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  font-size: {char_height}px; line-height: {line_height}px; }}
.{unique_id}-matrix text {{ animation: appear 1ms both; }}
.{unique_id}-title {{ font-size: 18px; font-weight: bold; font-family: arial, sans-serif; }}
@keyframes appear {{ from {{ opacity: 0; }} to {{ opacity: 1; }} }}
@media (prefers-reduced-motion: reduce) {{ .{unique_id}-matrix text {{ animation: none; }} }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" />
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


class TimedLines(io.StringIO):
    """Keeps when each line was begun, in seconds since the first one, without long pauses."""

    def __init__(self) -> None:
        super().__init__()
        self.times: list[float] = []
        self._shown = 0.0
        self._last = time.monotonic()

    def write(self, text: str) -> int:
        now = time.monotonic()
        self._shown += min(now - self._last, LONGEST_PAUSE)
        self._last = now
        self.times += [self._shown] * text.count("\n")
        return super().write(text)


def record(*options: str) -> str:
    """Run the demo with these options, and return its picture. Raises SystemExit where the demo failed."""
    lines = TimedLines()
    terminal = Terminal(lines, {}, width=WIDTH)
    terminal.record = True
    terminal.print(f"$ {COMMAND}", style="bold")
    if main(["--once", *options], terminal):
        sys.exit(f"the demo failed:\n{lines.getvalue()}")
    terminal.print()  # or the edge would cut the last line
    picture = terminal.export_svg(title=COMMAND, code_format=FORMAT, unique_id="demo")

    def with_delay(found: re.Match[str]) -> str:
        return f'{found[0]} style="animation-delay:{lines.times[int(found[1])]:.1f}s"'

    return re.sub(r'clip-path="url\(#demo-line-(\d+)\)"', with_delay, picture)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Record `vespa-proxy demo --once`. Its further options can be added.")
    picture = Path(__file__).parents[1] / "docs" / "demo.svg"
    parser.add_argument("file", nargs="?", type=Path, default=picture, help="the picture (default: %(default)s)")
    chosen, options = parser.parse_known_args()
    path: Path = chosen.file
    path.write_text(record(*options), "utf-8")
    print(f"{path}: {path.stat().st_size // 1024} KB")

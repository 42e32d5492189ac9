"""What the standard streams can show."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TextIO


def writable(stream: TextIO | None) -> TextIO:
    """A standard stream that may have been closed by whoever started us, or cannot show every character."""
    if stream is None:
        return open(os.devnull, "w")
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="replace")
    return stream


def shows_escapes(environ: Mapping[str, str], *, windows: bool = os.name == "nt") -> bool:
    """
    Whether a terminal follows ANSI's escape sequences: every one does, but for Windows' old console.

    Windows Terminal, ConEmu and the terminals of Unix tools each say that they are there.
    """
    return not windows or any(environ.get(name) for name in ("WT_SESSION", "ANSICON", "ConEmuANSI", "TERM"))

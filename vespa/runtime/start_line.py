"""The first line of a program's log: what runs, on what, and which parts are on."""

from __future__ import annotations

import platform
from collections.abc import Mapping

import twisted
from vespa import __version__
from vespa.transport.choice import is_fast


def program(name: str, reactor: object) -> str:
    """The version of this program, and of what it runs on: "Vespa 1.0 (Python 3.11.2, Twisted 26.10.0, ...)"."""
    transports = "fast" if is_fast() else "stock"
    return (
        f"{name} {__version__} (Python {platform.python_version()}, Twisted {twisted.__version__}, "
        f"{transports} transports, {type(reactor).__name__})"
    )


def switches(parts: Mapping[str, str]) -> str:
    """Which parts are on, and how: each name is followed by its value, and a part without a value is off."""
    return ", ".join(f"{name} {value or 'off'}" for name, value in parts.items())

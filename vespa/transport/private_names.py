"""The private names of other projects that our own transports use."""

from __future__ import annotations


def missing() -> str:
    """A name that is not in what is installed; "" where all are."""
    return ""

"""What ComfyUI's routes return, as values: its queue and the entries of its history."""

from __future__ import annotations

import json
from typing import Any, Final, TypeVar

import msgspec

SLOW_MAX: Final = 1 << 20
"""Bytes that Python's own parser reads."""


class Queued(msgspec.Struct, array_like=True, gc=False):
    """A job in `GET /queue`: an array, whose second element is the id."""

    number: Any  # not Raw, which `msgspec.convert` does not take
    prompt_id: str


class Queue(msgspec.Struct, gc=False):
    """`GET /queue`."""

    queue_running: list[Queued]
    queue_pending: list[Queued]


class Status(msgspec.Struct, gc=False):
    """How a job has ended: `status_str` is success or error."""

    status_str: str = ""


class Entry(msgspec.Struct, gc=False):
    """A job in `GET /history/{id}`. Older versions keep no status."""

    status: Status | None = None


_MALFORMED = (ValueError, TypeError, RecursionError)  # msgspec's errors are ValueErrors
_T = TypeVar("_T")


def decode(body: bytes, kind: type[_T]) -> _T | None:
    """
    The value, or None if it cannot be read.

    Workflows are their callers': they may hold NaN and halves of surrogate pairs, which ComfyUI takes and msgspec does
    not, and may be nested more deeply than either reads. Python's own parser is slow, so it reads nothing large.
    """
    try:
        return msgspec.json.decode(body, type=kind)
    except _MALFORMED:
        if len(body) > SLOW_MAX:
            return None
        try:
            return msgspec.convert(json.loads(body), kind)
        except _MALFORMED:
            return None

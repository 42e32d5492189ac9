"""Another name of `sockets`."""

from __future__ import annotations

from vespa.transport.sockets import (
    Write,
    buffered,
    close_now,
    half_closes,
    hides_resets,
    hung_up,
    is_plain,
    probe,
    reader,
    release,
    reset,
    set_no_delay,
    writer,
)

__all__ = [
    "Write",
    "buffered",
    "close_now",
    "half_closes",
    "hides_resets",
    "hung_up",
    "is_plain",
    "probe",
    "reader",
    "release",
    "reset",
    "set_no_delay",
    "writer",
]

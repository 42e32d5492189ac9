"""How long a client may take for what it is at: the clocks of one connection, looked at once a second."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from vespa.http.limits import Limits

STALL_SECONDS: Final = 10.0
"""
A body that is not verified has to come at the least rate in each such span of time.

Averaged from its beginning, a burst of 64 KiB would buy 512 s of silence.
"""


class Activity(IntEnum):
    """What a client is at."""

    IDLE = 0  # nothing of a request has come
    HEAD = 1
    BODY = 2  # of a request that is not verified
    WAITING = 3  # it is our turn: the client owes nothing
    LINGERING = 4  # sending what is nobody's any more
    READING = 5  # taking what we wrote
    UPLOADING = 6  # sending the body of a request that is verified


class ConnectionTimeouts:
    """
    One connection's clocks.

    Nothing is noted while requests come and go: whoever looks once a second sees whether the client is still at what it
    was at before. So a deadline is met a second or two late, and costs a request nothing.
    """

    __slots__ = ("_limits", "_activity", "_serial", "_since", "_size", "_stalled_at", "_stalled_since")

    def __init__(self, limits: Limits, now: float) -> None:
        """The first head's time counts from here."""
        self._limits = limits
        self._activity = Activity.IDLE
        self._serial = 0
        self._since = now
        self._size = 0
        self._stalled_at = (0, 0)
        self._stalled_since = now

    @property
    def since(self) -> float:
        """Since when the client is at what it is at, as far as was looked."""
        return self._since

    def look(
        self, now: float, activity: Activity, serial: int, received: int, waiting: int, sent: int
    ) -> Activity | None:
        """
        What took too long, if anything did.

        `serial` counts the connection's requests, `received` are the body's bytes so far, `waiting` those that wait to
        be written, and `sent` grows when any of them went.
        """
        if activity != self._activity or serial != self._serial:
            # A new connection has so long for its first head, whether it sends a part of it or nothing.
            if serial or activity != Activity.HEAD:
                self._since, self._size = now, received
            self._activity, self._serial = activity, serial
        limits, since = self._limits, now - self._since
        if activity == Activity.BODY and limits.body_min_rate:
            if since > STALL_SECONDS:
                if received - self._size < limits.body_min_rate * since:
                    return activity
                self._since, self._size = now, received
        elif activity == Activity.BODY or activity == Activity.UPLOADING:
            if received != self._size:
                self._since, self._size = now, received
            elif limits.body_idle_seconds and since >= limits.body_idle_seconds:
                return activity
        else:
            limit = self._limit(activity, serial)
            if limit and since >= limit:
                return activity
        mark = (waiting, sent)
        if not waiting or mark != self._stalled_at:
            self._stalled_at, self._stalled_since = mark, now
        elif limits.write_stall_seconds and now - self._stalled_since >= limits.write_stall_seconds:
            return Activity.READING
        return None

    def _limit(self, activity: Activity, serial: int) -> float:
        limits = self._limits
        if activity == Activity.HEAD or (activity == Activity.IDLE and not serial):
            return limits.head_seconds
        if activity == Activity.IDLE:
            return limits.keepalive_seconds
        return limits.linger_seconds if activity == Activity.LINGERING else 0.0

"""Time limits for a client: one connection's clocks, checked once a second."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from vespa.http.limits import Limits

STALL_SECONDS: Final = 10.0
"""
An unverified body must come at the minimum rate in each such period, in seconds.

If the rate were averaged from the beginning, a burst of 64 KiB would allow 512 s of silence.
"""


class Activity(IntEnum):
    """The present activity of a client."""

    IDLE = 0  # no byte of a request has come
    HEAD = 1
    BODY = 2  # of an unverified request
    WAITING = 3  # for the proxy: the client has nothing to do
    LINGERING = 4  # sending bytes that are dropped
    READING = 5  # reading the response
    UPLOADING = 6  # sending the body of a verified request


class ConnectionTimeouts:
    """
    One connection's clocks.

    Requests record nothing as they come and go. A check once a second sees whether the client's activity has changed
    since the last check. So a deadline is met a second or two late, and costs a request nothing.
    """

    __slots__ = ("_limits", "_activity", "_serial", "since", "_size", "_stalled_at", "_stalled_since")

    def __init__(self, limits: Limits, now: float) -> None:
        """The time limit of the first head starts here."""
        self._limits = limits
        self._activity = Activity.IDLE
        self._serial = 0
        self.since = now  # the time since which the activity lasts, as far as the checks saw it
        self._size = 0
        self._stalled_at = (0, 0)
        self._stalled_since = now

    def look(
        self, now: float, activity: Activity, serial: int, received: int, waiting: int, sent: int
    ) -> Activity | None:
        """
        The activity that took too long, or None.

        `serial` counts the connection's requests, `received` the bytes of the body so far, `waiting` the bytes that
        wait to be written. `sent` grows when any of them are sent.
        """
        if activity != self._activity or serial != self._serial:
            # A new connection has one time limit for its first head, from the beginning.
            if serial or activity != Activity.HEAD:
                self.since, self._size = now, received
            self._activity, self._serial = activity, serial
        limits, since = self._limits, now - self.since
        if activity == Activity.BODY and limits.body_min_rate:
            if since > STALL_SECONDS:
                if received - self._size < limits.body_min_rate * since:
                    return activity
                self.since, self._size = now, received
        elif activity == Activity.BODY or activity == Activity.UPLOADING:
            if received != self._size:
                self.since, self._size = now, received
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

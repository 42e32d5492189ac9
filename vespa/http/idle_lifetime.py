"""How long a server leaves an idle connection open: what it says, and what was seen."""

from __future__ import annotations

from math import inf
from typing import Final

REST_MAX_SECONDS: Final = 0.25
"""
A connection that is closed sooner than this after a response was closed because of the response, not for lying idle.
"""
REST_LEAST_SECONDS: Final = 0.01
FORGET_SECONDS: Final = 60.0
"""After which what was seen counts no more: servers are restarted, and then close connections of any age."""
_MARGIN_SHARE: Final = 0.1
_MARGIN_MAX_SECONDS: Final = 1.0


class IdleLifetime:
    """
    When a connection may be used again.

    `rest`: not before it was idle for so many seconds, as the server was seen to close connections so soon after a
    response (llama.cpp's does, a millisecond after each stream). `lasts`: not after so many, as the server closes idle
    ones then. `resets`: the server was seen to reset an idle connection, so that a reset of its says nothing about
    what it has read.
    """

    def __init__(self, most: float) -> None:
        """`most` seconds is the longest that a connection is kept whatever the server does."""
        self._most = most
        self._told = inf
        self._seen = inf
        self._seen_until = self._rest_until = 0.0
        self.rest = 0.0
        self.lasts = most
        self.resets = False

    def told(self, seconds: float) -> None:
        """The server says in `Keep-Alive: timeout=` how long it leaves an idle connection open."""
        if seconds != self._told:
            self._told = seconds
            self._reckon()

    def closed(self, age: float, now: float) -> None:
        """The server closed a connection that had been idle for `age` seconds."""
        if age < REST_MAX_SECONDS:
            # Twice what was seen, as it was seen once: the next one may be a little later.
            self.rest = min(max(self.rest, 2 * age, REST_LEAST_SECONDS), REST_MAX_SECONDS)
            self._rest_until = now + FORGET_SECONDS
        else:
            self._seen = min(self._seen, age)
            self._seen_until = now + FORGET_SECONDS
            self._reckon()

    def forget(self, now: float) -> None:
        """Forget what was seen long ago."""
        if self.rest and now >= self._rest_until:
            self.rest = 0.0
        if self._seen != inf and now >= self._seen_until:
            self._seen = inf
            self._reckon()

    def _reckon(self) -> None:
        closes = min(self._told, self._seen)
        margin = min(closes * _MARGIN_SHARE, _MARGIN_MAX_SECONDS)
        self.lasts = self._most if closes == inf else min(self._most, closes - margin)

"""The time for which a server leaves an idle connection open, as it says and as it was observed."""

from __future__ import annotations

from math import inf
from typing import Final

REST_MAX_SECONDS: Final = 0.25
"""If a server closes a connection sooner after a response, the response is the cause, not the idle time."""
REST_LEAST_SECONDS: Final = 0.01
FORGET_SECONDS: Final = 60.0
"""The time after which an observation no longer counts: a restarted server closes connections of any age."""
_MARGIN_SHARE: Final = 0.1
_MARGIN_MAX_SECONDS: Final = 1.0


class IdleLifetime:
    """
    Decides when a connection may be used again.

    `rest`: not before so many idle seconds, because the server was seen to close connections that early after a
    response (llama.cpp's server does, a millisecond after each stream). `lasts`: not after so many idle seconds,
    because the server closes connections then. `resets`: the server was seen to reset an idle connection, so a reset no
    longer proves which bytes it has read.
    """

    def __init__(self, most: float) -> None:
        """`most` is the maximum in seconds, whatever the server does."""
        self._most = most
        self._told = inf
        self._seen = inf
        self._seen_until = self._rest_until = 0.0
        self.rest = 0.0
        self.lasts = most
        self.resets = False

    def told(self, seconds: float) -> None:
        """The server has announced its limit with `Keep-Alive: timeout=`."""
        if seconds != self._told:
            self._told = seconds
            self._reckon()

    def closed(self, age: float, now: float) -> None:
        """The server closed a connection that had been idle for `age` seconds."""
        if age < REST_MAX_SECONDS:
            # Twice the observed age, because the next one may close a little later.
            self.rest = min(max(self.rest, 2 * age, REST_LEAST_SECONDS), REST_MAX_SECONDS)
            self._rest_until = now + FORGET_SECONDS
        else:
            self._seen = min(self._seen, age)
            self._seen_until = now + FORGET_SECONDS
            self._reckon()

    def forget(self, now: float) -> None:
        """Forget old observations."""
        if self.rest and now >= self._rest_until:
            self.rest = 0.0
        if self._seen != inf and now >= self._seen_until:
            self._seen = inf
            self._reckon()

    def _reckon(self) -> None:
        closes = min(self._told, self._seen)
        margin = min(closes * _MARGIN_SHARE, _MARGIN_MAX_SECONDS)
        self.lasts = self._most if closes == inf else min(self._most, closes - margin)

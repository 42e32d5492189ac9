"""The sessions that the client keeps for its callers, by the names that these chose."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping
from itertools import islice
from typing import Any, Final, Protocol

from attrs import define, field

from vespa.protocol.refusal import Refusal
from vespa.vast.assignment import Assignment

NAME_MAX: Final = 128
"""The longest name of a session, in characters."""
LIFETIME_MAX: Final = 1e6  # seconds
_ENDED_FOR_EACH: Final = 4
"""For each session that there may be, so many names are remembered whose session was ended."""

_is_name = re.compile(rb"[!-+\--~]{1,%d}" % NAME_MAX).fullmatch  # printable ASCII without spaces and commas
_is_seconds = re.compile(rb"[0-9]{1,7}(?:\.[0-9]{1,3})?").fullmatch


class Waiting(Protocol):
    """A request that waits for the session."""

    def opened(self) -> None:
        """The session is open."""

    def refused(self, refusal: Refusal) -> None:
        """There will be no session."""

    def still_waiting(self, status: str, seconds: float) -> None:
        """The search for a worker goes on, after so many seconds."""


class Opening(Protocol):
    """The creation of a session (`opening.SessionOpening`)."""

    def begin(self) -> None:
        """Look for a worker. May be repeated."""

    def join(self, waiting: Waiting) -> None:
        """Tell `waiting` of the result."""

    def leave(self, waiting: Waiting) -> None:
        """`waiting` needs no session any more."""

    def give_up(self, seconds: float) -> None:
        """The time is up."""

    def not_found(self, refusal: Refusal) -> None:
        """There will be no session."""


@define(eq=False)
class ClientSession:
    """
    One session, named by a caller. `cost` is in Vast's units, times in seconds of the clock.

    Its `name` is in no log, page or metric, because whoever knows it can use the session. `assignment` and `id` are
    those of the worker that has it, set when it is open. Until then `opening` is its creation. `expires_at` is the
    latest time at which the worker ends it. `silent_since`: since when its worker has answered none of its requests.
    """

    name: str
    cost: float
    lifetime: float
    began_at: float
    on_close_route: str = ""
    on_close_payload: Any = None
    id: str = field(default="", repr=False)
    assignment: Assignment | None = field(default=None, repr=False)
    opening: Opening | None = field(default=None, repr=False)
    used_at: float = 0.0
    expires_at: float = 0.0
    silent_since: float | None = None
    requests: int = 0

    @property
    def worker_url(self) -> str:
        """The address of its worker; "" while there is none."""
        return "" if self.assignment is None else self.assignment.url


class ClientSessions:
    """
    The sessions by name, the one used last at the end; at most `limit`.

    A name whose session was ended by the client itself is remembered with the reason, because its caller has not heard
    of it: the next request of that name is refused. Then the name is free.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._sessions: OrderedDict[str, ClientSession] = OrderedDict()
        self._ended: OrderedDict[str, str] = OrderedDict()

    @property
    def sessions(self) -> Mapping[str, ClientSession]:
        """All of them, the one used last at the end."""
        return self._sessions

    def newest(self, most: int) -> list[ClientSession]:
        """Those used last, the newest first."""
        return [self._sessions[name] for name in islice(reversed(self._sessions), most)]

    def get(self, name: str) -> ClientSession | None:
        """
        The session of that name, which is used now; None if there is none.

        Raises Refusal 410 "session_ended", once, if the client ended it.
        """
        session = self._sessions.get(name)
        if session is not None:
            self._sessions.move_to_end(name)
            return session
        reason = self._ended.pop(name, "")
        if reason:
            message = f"this session has ended, because {reason}. The next request with its name begins a new one"
            raise Refusal(410, "session_ended", message)
        return None

    def add(self, session: ClientSession) -> ClientSession | None:
        """
        Add a session. Returns the one unused for longest, if it had to leave for it. It must be ended.

        Who waits for one that is not open yet hears of its end, so its name is free.
        """
        out = None
        if len(self._sessions) >= self.limit:
            out = next(iter(self._sessions.values()))
            if out.opening is None:
                self.end(out, f"more than {self.limit} sessions were in use (--max-sessions)")
            else:
                self.forget(out)
        self._sessions[session.name] = session
        return out

    def forget(self, session: ClientSession) -> bool:
        """Its caller knows that it has ended. Returns False if it was not there."""
        if self._sessions.get(session.name) is not session:
            return False
        del self._sessions[session.name]
        return True

    def end(self, session: ClientSession, reason: str) -> None:
        """Its caller does not know yet that it has ended."""
        if self.forget(session):
            self._ended[session.name] = reason
            while len(self._ended) > _ENDED_FOR_EACH * self.limit:
                self._ended.popitem(last=False)


def read_name(name: bytes) -> str:
    """The name in X-Vespa-Session. Raises Refusal 422 "invalid_session_field"."""
    if not _is_name(name):
        message = (
            f"X-Vespa-Session must be one name of 1 to {NAME_MAX} printable ASCII characters, without space and comma"
        )
        raise Refusal(422, "invalid_session_field", message)
    return name.decode("ascii")


def read_lifetime(text: bytes) -> float:
    """The seconds in X-Vespa-Session-Lifetime. Raises Refusal 422 "invalid_session_field"."""
    if not _is_seconds(text) or not 0 < float(text) <= LIFETIME_MAX:
        message = f"X-Vespa-Session-Lifetime must be a number of seconds above 0, {LIFETIME_MAX:.0f} at most"
        raise Refusal(422, "invalid_session_field", message)
    return float(text)

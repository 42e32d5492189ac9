"""
The sessions of a worker, as data: which there are, whose they are, and until when they last.

Time is an argument, in epoch seconds. No Twisted.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

import msgspec
from attrs import define, field

from vespa.protocol.refusal import Refusal
from vespa.vast.auth import Auth
from vespa.worker.refusals import session_lost
from vespa.worker.sessions.messages import OnClose, WantedSession

RETRY_SECONDS: Final = 5.0
"""When a caller may ask again for a session, after the maximum was reached."""


class Account(Protocol):
    """The session's entry in the ledger (`accounting.session_account`)."""

    def end(self, now: float) -> None:
        """The session has ended."""


@define(eq=False)
class Session:
    """
    One session, from its creation until its end.

    `auth_data` is that of its creation as JSON, and `owner` its signed values in one spelling. `lifetime` is in
    seconds, `created_at` and `expires_at` in epoch seconds. `in_flight` are the requests inside it that have not ended,
    and `requests` is the number of all. `backend` is free for a worker with several backends. `is_closing`: no request
    enters any more, and the backend is being told. `is_lost`: no request enters any more, because its backend is gone.
    `on_idle` is called when no request is in flight any more.
    """

    id: str = field(repr=False)
    auth_data: bytes = field(repr=False)
    owner: bytes = field(repr=False)
    lifetime: float
    created_at: float
    expires_at: float
    on_close: OnClose | None
    account: Account = field(repr=False)
    backend: Any = None
    requests: int = 0
    in_flight: dict[Any, None] = field(factory=dict)
    is_closing: bool = False
    is_lost: bool = False
    on_idle: Callable[[Session], object] | None = field(default=None, repr=False)

    def entered(self, request: Any) -> None:
        """A request inside the session was admitted."""
        self.in_flight[request] = None

    def left(self, request: Any) -> None:
        """A request inside the session has ended."""
        self.in_flight.pop(request, None)
        if self.on_idle is not None and not self.in_flight:
            self.on_idle(self)

    def belongs_to(self, auth: Auth | None) -> bool:
        """Whether it was created with these signed values. The time does not tell how many of them are right."""
        return auth is not None and hmac.compare_digest(self.owner, owner_of(auth))


class SessionTable:
    """
    The open sessions, and those that are being closed. These laws hold:

    1. There are at most `limit` of them. A session that is being closed counts until `remove`.
    2. A session is used only by its id together with the signed values of its creation.
    3. A session ends at its `expires_at`: then it takes no request, and `expired` names it until `close`.
    4. Each request moves `expires_at` by the session's lifetime, at most to `longest_lifetime` seconds from now.
    5. A clock that is set back does not make a session last longer.
    """

    def __init__(self, limit: int, longest_lifetime: float, new_id: Callable[[], str]) -> None:
        """`new_id` returns an id that nobody can guess."""
        self.limit = limit
        self.longest_lifetime = longest_lifetime
        self._new_id = new_id
        self._sessions: dict[str, Session] = {}
        self.sessions: Mapping[str, Session] = self._sessions
        self._now = 0.0

    def check_room(self) -> None:
        """Raises Refusal 429 "too_many_sessions" if there can be no other session."""
        if len(self._sessions) >= self.limit:
            message = f"this worker has {self.limit} sessions, which is its limit (VESPA_MAX_SESSIONS)"
            raise Refusal(429, "too_many_sessions", message, retry_after=RETRY_SECONDS)

    def open(self, wanted: WantedSession, account: Account, now: float) -> Session:
        """A new session for the sender of a verified request. Raises `Refusal` like `check_room`."""
        self.check_room()
        self._follow(now)
        session_id = self._new_id()
        session = self._sessions[session_id] = Session(
            id=session_id,
            auth_data=wanted.auth_data,
            owner=owner_of(wanted.auth),
            lifetime=wanted.lifetime,
            created_at=now,
            expires_at=now + wanted.lifetime,
            on_close=wanted.on_close,
            account=account,
        )
        return session

    def find(self, session_id: str, now: float) -> Session | None:
        """The session with this id, if it has not expired; it may be closing."""
        self._follow(now)
        session = self._sessions.get(session_id)
        return session if session is not None and (session.is_closing or now < session.expires_at) else None

    def owned(self, session_id: str, auth: Auth | None, now: float, *, status: int) -> Session:
        """
        The session with this id, for a caller with these signed values; it may be closing.

        Raises Refusal "invalid_session" with `status` if there is none, and 401 "bad_session_auth" for another's.
        """
        session = self.find(session_id, now)
        if session is None:
            raise Refusal(status, "invalid_session", "there is no such session: it was ended, or has expired")
        if not session.belongs_to(auth):
            message = "the session was created with another auth_data: send the auth_data of its /session/create"
            raise Refusal(401, "bad_session_auth", message)
        return session

    def use(self, session_id: str, auth: Auth, now: float) -> Session:
        """
        The open session that a request names. The request extends it.

        Raises Refusal 410 "invalid_session" and 401 "bad_session_auth".
        """
        session = self.owned(session_id, auth, now, status=410)
        if session.is_closing:
            raise Refusal(410, "invalid_session", "this session was ended")
        if session.is_lost:
            raise session_lost()
        session.requests += 1
        latest = now + self.longest_lifetime
        session.expires_at = max(session.expires_at, min(session.expires_at + session.lifetime, latest))
        return session

    def expired(self, now: float) -> list[Session]:
        """The sessions whose time is over, and which are not being closed yet."""
        self._follow(now)
        return [each for each in self._sessions.values() if not each.is_closing and now >= each.expires_at]

    def close(self, session: Session) -> bool:
        """Let no request enter any more. Returns False if that was so already."""
        if session.is_closing:
            return False
        session.is_closing = True
        return True

    def remove(self, session: Session) -> None:
        """The session has ended, and its place is free."""
        self._sessions.pop(session.id, None)

    def _follow(self, now: float) -> None:
        """Notice a clock that was set back: what is left of each session stays the same."""
        if now < self._now:
            for session in self._sessions.values():
                session.expires_at -= self._now - now
        self._now = now


_encode: Final = msgspec.json.Encoder().encode


def owner_of(auth: Auth) -> bytes:
    """The signed values in one spelling, to compare."""
    return _encode((auth.signature, auth.reqnum, auth.request_idx, auth.url, auth.endpoint, auth.cost))

"""How a request gets the worker of its session: at once, or when the session is open."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from vespa.client.interfaces import SearchListener
from vespa.client.sessions.table import ClientSession
from vespa.protocol.refusal import Refusal


class SessionSearch:
    """The search of one request inside a session. It always finds the same worker."""

    _listener: SearchListener | None = None
    _later: IDelayedCall | None = None

    def __init__(
        self, session: ClientSession, clock: IReactorTime, *, ends: Callable[[ClientSession], object] | None = None
    ) -> None:
        """`ends`: the request ends the session. It is called if the request is over before its worker was reported."""
        self._session = session
        self._clock = clock
        self._ends = ends

    def begin(self, listener: SearchListener, delay: float = 0.0, *, anew: bool = False) -> None:
        """Report the session's worker to `listener`, after `delay` seconds or when the session is open."""
        self._listener = listener
        opening = self._session.opening
        if delay:
            self._later = self._clock.callLater(delay, self.opened)
        elif opening is None:
            self.opened()
        else:
            opening.join(self)
            opening.begin()

    def cancel(self) -> None:
        """The request needs no worker any more."""
        listener, self._listener = self._listener, None
        later, self._later = self._later, None
        if later is not None:
            later.cancel()
        if self._session.opening is not None:
            self._session.opening.leave(self)
        if listener is not None and self._ends is not None:
            self._ends(self._session)

    def give_up(self, seconds: float) -> None:
        """The request's time is up."""
        if self._session.opening is not None:
            self._session.opening.give_up(seconds)  # it began earlier, so its time is up as well

    def opened(self) -> None:
        """The session is open."""
        self._later = None
        listener, self._listener = self._listener, None
        if listener is not None:
            assert self._session.assignment is not None
            assignment = self._session.assignment
            listener.found(assignment if self._ends is None else assignment.ending)

    def refused(self, refusal: Refusal) -> None:
        """There is no session."""
        listener = self._listener
        self.cancel()
        if listener is not None:
            listener.not_found(refusal)

    def still_waiting(self, status: str, seconds: float) -> None:
        """The search for the session's worker goes on."""
        if self._listener is not None:
            self._listener.still_waiting(status, seconds)


class OpenedSession:
    """Waits for a session for a program. `result` fires with it, or fails with `Refusal`; may be cancelled."""

    def __init__(self, session: ClientSession) -> None:
        self._session = session
        self.result: Deferred[ClientSession] = Deferred(self._cancelled)

    def _cancelled(self, _: object) -> None:
        if self._session.opening is not None:
            self._session.opening.leave(self)

    def opened(self) -> None:
        """The session is open."""
        if not self.result.called:
            self.result.callback(self._session)

    def refused(self, refusal: Refusal) -> None:
        """There is no session."""
        if not self.result.called:
            self.result.errback(refusal)

    def still_waiting(self, status: str, seconds: float) -> None:
        """Nobody is told: the client's `on_wait` is."""

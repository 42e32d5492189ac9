"""What the worker's admission asks of parts that not every worker has, as protocols without logic."""

from __future__ import annotations

from typing import Protocol

from vespa.proxy.exchange import Exchange
from vespa.vast.auth import Auth


class Session(Protocol):
    """A session that requests belong to."""

    def entered(self, exchange: Exchange) -> None:
        """A request of the session was admitted, or waits for a slot."""

    def left(self, exchange: Exchange) -> None:
        """It has ended. Called once for each that entered."""


class SessionLookup(Protocol):
    """Finds the sessions of a worker."""

    def session_of(self, auth: Auth) -> Session:
        """
        The session that `auth` names, which the same assignment has created.

        Raises Refusal 410 "invalid_session". The assignment was verified when it created the session.
        """


class Engine(Protocol):
    """Stops the work of a backend that goes on although its connection was closed."""

    def admitted(self, exchange: Exchange) -> None:
        """A request has its slot. `Exchange.payload` is there if it came whole."""

    def left(self, exchange: Exchange) -> bool:
        """
        The caller hung up while the backend had the request.

        True: the work is being stopped, and `WorkerAdmission.engine_stopped` is called when it is.
        """

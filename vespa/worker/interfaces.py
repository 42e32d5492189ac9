"""What the worker's application and admission ask of parts that workers have in several forms, as protocols."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from vespa.accounting.fair_queue import FairQueue
from vespa.http.connection_pool import ConnectionPool
from vespa.protocol.request_head import RequestHead
from vespa.protocol.via import Via
from vespa.proxy.exchange import Exchange
from vespa.proxy.interfaces import HeaderPolicy, UpstreamSelector
from vespa.vast.auth import Auth
from vespa.worker.policy import Policy


class WorkerUpstreams(UpstreamSelector[Exchange], Protocol):
    """The way to one backend or to several."""

    @property
    def gate(self) -> FairQueue[Any]:
        """The slots, and the queue for them."""

    @property
    def pools(self) -> Sequence[ConnectionPool]:
        """The connections to each backend."""

    def on_moved(self, watch_queue: Callable[[], None]) -> None:
        """Have this called when a request that had a slot waits for another one, and when it no longer does."""

    def headers(self, policy: Policy, via: Via, target: Callable[[RequestHead], bytes]) -> HeaderPolicy[Exchange]:
        """What makes the heads of requests to the backends. `target` returns what to send of a target with a query."""


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

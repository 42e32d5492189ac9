"""Sessions: requests with the same name in X-Vespa-Session go to the same worker, inside one session there."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults, succeed
from twisted.logger import Logger

from vespa.client.caller_fields import PinFields
from vespa.client.pinned_selection import PinnedSelection
from vespa.client.sessions.ending import SessionEnding
from vespa.client.sessions.opening import SessionOpening
from vespa.client.sessions.search import OpenedSession, SessionSearch
from vespa.client.sessions.table import ClientSession, ClientSessions, read_lifetime, read_name
from vespa.client.worker_selection import WorkerSelector
from vespa.http.interfaces import UpstreamError
from vespa.protocol.refusal import Refusal
from vespa.protocol.response_head import ResponseHead
from vespa.proxy.exchange import Exchange
from vespa.runtime.deadlines import within

STOP_SECONDS: Final = 2.0
"""How long the client's stop waits for the workers to end its sessions."""
SILENT_SECONDS: Final = 300.0
"""For so long a session is kept whose worker answers nothing, if its time is not over before."""
RESULTS: Final = ("opened", "refused", "ended", "replaced", "lost")
"""What is counted: sessions that were opened or not, then ended by their owner, for a newer one, or by their worker."""
_OFFICIAL_ID_LENGTH: Final = 13
_END: Final = b"/session/end"


class Sessions(Service):
    """
    Opens, uses and ends sessions at workers. `results` counts since the start what became of them.

    The caller of a session hears when it ends: 410 if the worker has ended it, 502 if the worker cannot be reached. No
    request of a session ever goes to another worker, which would not have its state.
    """

    log = Logger(namespace="vespa.client")

    def __init__(self, selector: WorkerSelector, limit: int, lifetime: float) -> None:
        """`limit` is the number of sessions, `lifetime` the default in seconds."""
        self.table = ClientSessions(limit)
        self.lifetime = lifetime
        self.results: Counter[str] = Counter()
        self._selector = selector
        self._clock = selector.timer.clock
        self._ending: dict[Deferred[None], None] = {}

    # -- requests

    def selection(self, exchange: Exchange, pin_fields: PinFields) -> PinnedSelection:
        """The selection of a request with X-Vespa-Session. Raises `Refusal`."""
        name = read_name(pin_fields.session or b"")
        lifetime = self.lifetime if pin_fields.lifetime is None else read_lifetime(pin_fields.lifetime)
        session = self.table.get(name)
        head = exchange.head
        if head.method == b"POST" and head.target.partition(b"?")[0] == _END:
            return self._ending_selection(exchange, session)
        if session is None:
            session = self._begin(ClientSession(name, exchange.content.cost, lifetime, self._clock.seconds()))
        session.requests += 1
        session.used_at = self._clock.seconds()
        session.expires_at += session.lifetime
        return PinnedSelection(
            self._selector, exchange, SessionSearch(session, self._clock), _SessionPin(self, session)
        )

    def _ending_selection(self, exchange: Exchange, session: ClientSession | None) -> PinnedSelection:
        """The selection of the request by which a caller ends its session. From now on the name is free."""
        if session is None:
            raise Refusal(410, "session_ended", "there is no session of this name")
        if not exchange.content.enveloped:
            message = "a POST of /session/end with X-Vespa-Session needs a body and type of JSON, such as {}"
            raise Refusal(422, "invalid_session_field", message)
        self.table.forget(session)
        self.results["ended"] += 1
        search = SessionSearch(session, self._clock, ends=self._end_alone)
        return PinnedSelection(self._selector, exchange, search, _Ended(self, session))

    def _begin(self, session: ClientSession) -> ClientSession:
        """Raises Refusal 410 "session_ended" if it is replaced at once."""
        session.opening = SessionOpening(session, self._selector, self)
        out = self.table.add(session)
        if out is not None:
            self._replace(out)  # whom this refuses gives up a slot, and the next request may begin a session here
        if self.table.sessions.get(session.name) is not session:
            raise self._replaced()
        return session

    def _replace(self, session: ClientSession) -> None:
        if session.opening is not None:
            session.opening.not_found(self._replaced())
            return
        self.results["replaced"] += 1
        self._end_at_worker(session)

    def _replaced(self) -> Refusal:
        reason = f"more than {self.table.limit} sessions were in use (--max-sessions)"
        return Refusal(410, "session_ended", f"this session has ended: {reason}")

    def opened(self, session: ClientSession) -> None:
        """Called by its opening."""
        self.results["opened"] += 1

    def not_opened(self, session: ClientSession) -> None:
        """Called by its opening. The name is free."""
        self.results["refused"] += 1
        self.table.forget(session)

    def may_be_late(self, session: ClientSession, answered: Deferred[None]) -> None:
        """Called by its opening. If its worker creates it all the same, it is ended there."""
        if len(self._ending) >= self.table.limit:
            answered.cancel()
            return
        answered.addCallback(lambda _: self._end_at_worker(session))
        self._await(answered)

    def is_gone(self, session: ClientSession) -> bool:
        """Whether its worker, which has not answered now, must have ended it or is taken for gone."""
        now = self._clock.seconds()
        if session.silent_since is None:
            session.silent_since = now
        return now >= session.expires_at or now - session.silent_since >= SILENT_SECONDS

    def lost(self, session: ClientSession) -> None:
        """The worker says that it has no such session, and its caller hears that. The name is free."""
        if self.table.forget(session):
            self.results["lost"] += 1

    # -- for programs that contain the client

    def open(
        self, name: str, cost: float, lifetime: float, on_close_route: str = "", on_close_payload: Any = None
    ) -> Deferred[ClientSession]:
        """
        Open a session. Fires with it; fails with `Refusal`; may be cancelled.

        Raises ValueError for a name that is in use.
        """
        read_name(name.encode("utf-8", "replace"))
        if name in self.table.sessions:
            raise ValueError("there is a session of this name already")
        session = ClientSession(name, cost, lifetime, self._clock.seconds(), on_close_route, on_close_payload)
        self._begin(session)
        waiting = OpenedSession(session)
        opening = session.opening
        assert opening is not None
        opening.join(waiting)
        opening.begin()
        return waiting.result

    def end(self, name: str) -> Deferred[None]:
        """End a session. Fires when its worker has answered, or has not in time; does not fail."""
        session = self.table.sessions.get(name)
        if session is None:
            return succeed(None)
        if session.opening is None:
            self.table.forget(session)
            self.results["ended"] += 1
        return self._end_alone(session)

    # -- ends

    def _end_alone(self, session: ClientSession) -> Deferred[None]:
        """End it without a request of its caller's."""
        if session.opening is None:
            return self._end_at_worker(session)
        message = "this session was ended before it was open"
        session.opening.not_found(Refusal(410, "session_ended", message))
        return succeed(None)

    def _end_at_worker(self, session: ClientSession) -> Deferred[None]:
        assignment = session.assignment
        worker = None if assignment is None else self._selector.workers.known(assignment.url)
        if assignment is None or worker is None:
            return succeed(None)  # its worker has been unused for long, and ends it by itself
        return self._await(SessionEnding(session, worker, self._selector.timer).done)

    def _await(self, ending: Deferred[None]) -> Deferred[None]:
        """Wait for it before the client stops."""
        if not ending.called:
            self._ending[ending] = None
            ending.addCallback(lambda _: self._ending.pop(ending, None))
        return ending

    def stopService(self) -> Deferred[None]:
        """End all sessions. Fires when the workers have answered, or after `STOP_SECONDS`; does not fail."""
        super().stopService()  # type: ignore[no-untyped-call]
        for name in list(self.table.sessions):
            self.end(name)
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        try:
            await within(STOP_SECONDS, self._clock, gatherResults([*self._ending]))
        except TimeoutError:
            self.log.warn("not all workers answered to the end of their sessions; they end them by themselves")
        for each in list(self._ending):
            each.cancel()


class _SessionPin:
    """A session, as its requests' selections see it."""

    def __init__(self, sessions: Sessions, session: ClientSession) -> None:
        self._sessions = sessions
        self._session = session

    def unreachable(self, error: UpstreamError) -> Refusal:
        """The worker did not answer. Its session may still be there, so the name is kept for some time."""
        session, sessions = self._session, self._sessions
        where = f"the worker of this session did not answer: {error}"
        session.expires_at -= session.lifetime  # this request has not extended it
        if sessions.is_gone(session):
            sessions.lost(session)
            message = f"{where}. The session is taken for ended. The next request with its name begins a new one"
            return Refusal(410, "session_ended", message, origin="worker")
        message = f"{where}. The session's state is there alone: try again, or begin another session"
        return Refusal(502, "session_unreachable", message, origin="worker")

    def answered(self, head: ResponseHead) -> None:
        """A 410 of the worker ends the session. One of the backend behind a worker of Vespa's has another meaning."""
        self._session.silent_since = None
        if head.status != 410:
            return
        code = next((line[14:].strip() for line in head.passing if line[:14].lower() == b"x-vespa-error:"), b"")
        if code == b"invalid_session" or (not code and len(self._session.id) == _OFFICIAL_ID_LENGTH):
            self._sessions.lost(self._session)


class _Ended(_SessionPin):
    """A session whose end its caller has asked for."""

    def unreachable(self, error: UpstreamError) -> Refusal:
        """The worker did not answer."""
        message = f"the worker of this session did not answer: {error}. It ends it when its lifetime is over"
        return Refusal(502, "session_unreachable", message, origin="worker")

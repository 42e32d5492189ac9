"""Opens a session: the autoscaler names a worker, which creates it. Other workers are asked if that one cannot."""

from __future__ import annotations

from typing import Final, Protocol

from twisted.internet.defer import Deferred

from vespa.client.retries import Retries
from vespa.client.sessions.creation import SessionCreation
from vespa.client.sessions.table import ClientSession, Waiting
from vespa.client.worker_pools import Worker
from vespa.client.worker_selection import WorkerSelector
from vespa.http.interfaces import UpstreamError
from vespa.protocol.refusal import Refusal
from vespa.vast.assignment import Assignment, seconds_before

_FULL: Final = "too_many_sessions"
_AGAIN: Final = frozenset((401, 408, 425, 429))
"""Statuses after which another worker may open it. 401: an assignment is used up by its first request."""


class Opens(Protocol):
    """Is told of the result."""

    def opened(self, session: ClientSession) -> None:
        """The session is open."""

    def not_opened(self, session: ClientSession) -> None:
        """There will be no session."""

    def may_be_late(self, session: ClientSession, answered: Deferred[None]) -> None:
        """
        There will be no session, but its worker was asked for it (`SessionCreation.let_go`).

        `answered` fires with None. If the session has an assignment then, it must be ended there.
        """


class SessionOpening:
    """
    The creation of one session, for all requests that wait for it.

    It goes on for as long as the client's time limit of a search allows. If all who wait leave while it looks for a
    worker, it is cancelled.
    """

    _worker: Worker | None = None
    _assignment: Assignment | None = None
    _finding: Deferred[None] | None = None  # the preparation of a connection to a worker
    _creating: SessionCreation | None = None
    _attempts = 0
    _retries: Retries | None = None
    _begun = False
    _over = False

    def __init__(self, session: ClientSession, selector: WorkerSelector, owner: Opens) -> None:
        self.session = session
        self._selector = selector
        self._owner = owner
        self._waiting: dict[Waiting, None] = {}
        self._search = selector.search(session.cost, session.began_at)

    def begin(self) -> None:
        """Look for a worker. May be repeated."""
        if self._begun:
            return
        self._begun = True
        self._selector.timer.add(self)
        self._search.begin(self)

    def join(self, waiting: Waiting) -> None:
        """Tell `waiting` of the result."""
        self._waiting[waiting] = None

    def leave(self, waiting: Waiting) -> None:
        """`waiting` needs no session any more."""
        if waiting not in self._waiting:
            return
        del self._waiting[waiting]
        if not self._waiting and not self._over and self._creating is None:
            self.cancel()

    def cancel(self) -> None:
        """Stop. Nobody is told but the owner."""
        self._waiting.clear()
        self._end()
        self._owner.not_opened(self.session)

    def tick(self, now: float) -> None:
        """Enforce the time limit."""
        seconds = self._selector.policy.seconds
        if seconds and now - self.session.began_at >= seconds:
            self.give_up(seconds)

    def give_up(self, seconds: float) -> None:
        """The time is up: refuse with the last state of the search, or because a worker does not answer."""
        if self._finding is None and self._creating is None:
            self._search.give_up(seconds)
        if not self._over:
            message = f"no worker has opened the session after {seconds:g} s"
            self.not_found(Refusal(504, "worker_timeout", message, origin="worker"))

    # -- called by the search

    def still_waiting(self, status: str, seconds: float) -> None:
        for waiting in list(self._waiting):
            waiting.still_waiting(status, seconds)

    def not_found(self, refusal: Refusal) -> None:
        """There will be no session."""
        waiting, self._waiting = self._waiting, {}
        self._end()
        self._owner.not_opened(self.session)
        for each in waiting:
            each.refused(refusal)

    def found(self, assignment: Assignment) -> None:
        """The autoscaler has named a worker."""
        self._assignment = assignment
        finding = self._selector.workers.find(assignment.url, self._create, self.not_found)
        if finding is not None:  # within the call another one may have begun
            self._finding = finding

    # -- at the worker

    def _create(self, worker: Worker) -> None:
        self._finding = None
        assert self._assignment is not None
        self._attempts += 1
        self._worker = worker
        worker.requests += 1
        creation = SessionCreation(self.session, self._assignment, worker, self._selector.timer, self)
        if not creation.is_done:
            self._creating = creation

    def created(self) -> None:
        """The worker has created the session."""
        self._creating = None
        session, now = self.session, self._selector.timer.clock.seconds()
        # Each request extends it by its lifetime.
        session.used_at, session.expires_at = now, now + session.lifetime * (1 + len(self._waiting))
        waiting, self._waiting = self._waiting, {}
        self._end()
        self._owner.opened(session)
        for each in waiting:
            each.opened()

    def not_created(self, status: int, said: str) -> None:
        """The worker has answered otherwise."""
        self._creating = None
        if 200 <= status < 300:
            message = "the worker's answer to /session/create has no session_id"
        elif status in _AGAIN or status >= 500:
            self._again("busy", f"it answered {status} to /session/create", answered=True, status=status)
            return
        else:
            message = f"the worker opens no session: it answered {status}" + (f": {said}" if said else "")
            if status == 404:
                message += "; sessions may be off there (VESPA_MAX_SESSIONS)"
        self.not_found(Refusal(502, "session_refused", message, origin="worker"))

    def unanswered(self, error: UpstreamError) -> None:
        """The worker has not answered."""
        self._creating = None
        self._again(error.code, str(error), answered=False, status=0)

    def _again(self, code: str, why: str, *, answered: bool, status: int) -> None:
        """Ask for another worker, or give up."""
        selector, worker = self._selector, self._worker
        now = selector.timer.clock.seconds()
        if worker is not None:
            worker.failures += 1
            worker.failed_at, worker.trouble = now, why
        if self._retries is None:
            self._retries = Retries(selector.policy.attempts)
        if not self._retries.allow(code, self._attempts, now):
            message = f"no worker has opened the session, after {self._attempts} attempts; the last one: {why}"
            if status == 429:
                refusal = Refusal(429, _FULL, message, origin="worker", retry_after=5)
            else:
                refusal = Refusal(502, "session_refused", message, origin="worker")
            self.not_found(refusal)
            return
        self._search.begin(self, seconds_before(self._attempts, selector.autoscaler.random), anew=answered)

    def _end(self) -> None:
        self._over = True
        self.session.opening = None
        self._selector.timer.discard(self)
        self._search.cancel()
        finding, self._finding = self._finding, None
        if finding is not None:
            finding.cancel()
        creating, self._creating = self._creating, None
        late = None if creating is None else creating.let_go()
        if late is not None:
            self._owner.may_be_late(self.session, late)

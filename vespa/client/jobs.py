"""Jobs that outlive the request that began them: what asks for their state and result goes to their worker."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Final

import msgspec
from attrs import define, field, frozen

from vespa.client.caller_fields import PinFields
from vespa.client.known_worker import KnownWorkerSearch
from vespa.client.pinned_selection import PinnedSelection
from vespa.client.worker_selection import WorkerSelector
from vespa.http.interfaces import UpstreamError
from vespa.protocol.refusal import Refusal
from vespa.protocol.request_head import RequestHead
from vespa.protocol.response_head import ResponseHead
from vespa.proxy.body_reader import READ_MAX, BodyReader
from vespa.proxy.exchange import Exchange
from vespa.vast.assignment import Assignment

JOBS_MAX: Final = 10000
"""The number of jobs that are known. Above it the one unused for longest is forgotten."""
JOB_SECONDS: Final = 3600.0
"""A job about which nobody has asked for so long is forgotten."""
_PARTS_MAX: Final = 16  # segments of a path, and parameters of a query, that are looked at

is_job_id = re.compile(rb"[A-Za-z0-9._~-]{8,128}").fullmatch
"""Matches the id of a job. A shorter one could be any part of a path."""
_digit = re.compile(rb"[0-9]").search


@frozen
class JobAPI:
    """An API with jobs: the paths at which POST begins one, and the member of the response that is its id."""

    begins: frozenset[bytes]
    member: str


APIS: Final[Mapping[str, JobAPI]] = {
    "comfyui": JobAPI(frozenset((b"/prompt", b"/api/prompt")), "prompt_id"),
    "comfyui-wrapper": JobAPI(frozenset((b"/generate",)), "id"),
}


@define(eq=False)
class KnownJob:
    """
    One job. Times are in seconds of the clock.

    The assignment of the request that began it is also that of the requests about it, which its worker takes as free
    polls.
    """

    id: bytes
    assignment: Assignment = field(repr=False)
    began_at: float
    used_at: float
    requests: int = 0

    def unreachable(self, error: UpstreamError) -> Refusal:
        """The refusal of a request about a job whose worker did not answer."""
        message = f"the worker of this job did not answer: {error}. The job is there alone: try again"
        return Refusal(502, "job_unreachable", message, origin="worker")

    def answered(self, head: ResponseHead) -> None:
        """A job knows nothing of it."""


@define(eq=False, slots=False)
class Jobs:
    """The jobs that were begun through this client, the one used last at the end. `begun` counts all."""

    _selector: WorkerSelector
    api: JobAPI | None = None
    """None: no response is read, and no job is known."""
    begun: int = field(default=0, init=False)
    _jobs: OrderedDict[bytes, KnownJob] = field(factory=OrderedDict, init=False)

    @property
    def jobs(self) -> Mapping[bytes, KnownJob]:
        """All that are known, the one used last at the end."""
        return self._jobs

    def selection(self, exchange: Exchange, pin_fields: PinFields | None) -> PinnedSelection | None:
        """
        The selection of a request about a job; None for any other.

        Raises Refusal 410 "unknown_job" for an X-Vespa-Job that is none of a known job.
        """
        if pin_fields is not None and pin_fields.job is not None:
            job = self._find((pin_fields.job,))
            if job is None:
                raise _unknown(self.api is not None)
        else:
            job = self._find(self._named_in(exchange.head)) if self._jobs else None
        if job is None:
            return None
        job.requests += 1
        search = KnownWorkerSearch(self._selector.timer.clock, lambda: job.assignment)
        return PinnedSelection(self._selector, exchange, search, job)

    def reader(self, exchange: Exchange, head: ResponseHead, length: int) -> BodyReader | None:
        """What reads a response that may begin a job; None for any other. `length`: -1 if it is not known."""
        api = self.api
        if api is None or exchange.head.method != b"POST" or not 200 <= head.status < 300 or length > READ_MAX:
            return None
        if exchange.head.target.partition(b"?")[0] not in api.begins:
            return None
        assignment = exchange.selection.assignment
        begins = partial(self.begin, assignment=assignment)
        return job_reader(head, api.member, begins, chunked=not exchange.content_only)

    def begin(self, job_id: bytes, assignment: Assignment) -> None:
        """A job was begun with this assignment. A later one with the same id replaces it."""
        now = self._selector.timer.clock.seconds()
        self.begun += 1
        self._jobs.pop(job_id, None)
        self._jobs[job_id] = KnownJob(job_id, assignment, now, now)
        self._forget(now)

    def _named_in(self, head: RequestHead) -> Iterator[bytes]:
        """What may be the id of a job in a request's target."""
        # A caller may choose an id, such as `object_info`. That must not tie requests of others to its worker.
        api = self.api
        if api is not None and head.method == b"POST" and head.target.partition(b"?")[0] in api.begins:
            return iter(())
        return filter(_digit, _named_in(head.target))

    def _find(self, names: tuple[bytes, ...] | Iterator[bytes]) -> KnownJob | None:
        """The job that has one of these ids. It is used now."""
        jobs, now = self._jobs, self._selector.timer.clock.seconds()
        self._forget(now)
        for name in names:
            job = jobs.get(name)
            if job is not None:
                job.used_at = now
                jobs.move_to_end(name)
                return job
        return None

    def _forget(self, now: float) -> None:
        jobs = self._jobs
        while jobs:
            oldest = next(iter(jobs.values()))
            if len(jobs) <= JOBS_MAX and now - oldest.used_at < JOB_SECONDS:
                return
            del jobs[oldest.id]


def job_reader(head: ResponseHead, member: str, begins: Callable[[bytes], object], *, chunked: bool) -> BodyReader:
    """
    The reader of a response that may begin a job: `begins` is called with the id, which is the response's `member`.

    `chunked`: a body in the chunked coding comes with that coding.
    """

    def ended(body: bytes, whole: bool) -> bool:
        job_id = _id_in(body, member) if whole else b""
        if job_id and is_job_id(job_id):
            begins(job_id)
        return False  # the client has no account to keep open

    return BodyReader(head, ended, chunked=chunked)


def _id_in(body: bytes, member: str) -> bytes:
    """The id in a response; b"" if there is none."""
    try:
        found = msgspec.json.decode(body)
    except (ValueError, RecursionError):  # msgspec's errors are ValueErrors
        return b""
    value = found.get(member) if isinstance(found, dict) else None
    return value.encode("utf-8", "replace") if isinstance(value, str) else b""


def _named_in(target: bytes) -> Iterator[bytes]:
    """The last segments of a path, and the values of the first parameters of its query."""
    path, _, query = target.partition(b"?")
    yield from path.split(b"/")[-_PARTS_MAX:]
    if query:
        for parameter in query.split(b"&", _PARTS_MAX)[:_PARTS_MAX]:
            yield parameter.partition(b"=")[2]


def _unknown(is_on: bool) -> Refusal:
    why = f"it was begun elsewhere, or nobody has asked for it for {JOB_SECONDS / 60:.0f} minutes"
    message = f"this client does not know the job in X-Vespa-Job: {why if is_on else '--jobs is off'}"
    return Refusal(410, "unknown_job", message)

"""The simulated autoscaler under a test's control: its faults, when it has workers, and what it was asked."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from klein import Klein
from klein.resource import KleinResource
from twisted.internet.interfaces import IReactorTime
from twisted.web.server import Request

from tests.simulator_support.authority import Authority
from tests.simulator_support.faults import Faults
from vespa.simulator import responses
from vespa.simulator.autoscaler import Asked, SimulatedAutoscaler, breakdown
from vespa.simulator.reports import DeleteRequests, ReportedCompletion, Strict, read
from vespa.simulator.worker_totals import WorkerTotals

KEPT = 10_000
"""How many questions are remembered, the newest."""


class Routes(deque[Asked]):
    """The questions of late, in order."""

    def __init__(self) -> None:
        super().__init__(maxlen=KEPT)

    def of(self, request_idx: int) -> list[Asked]:
        """Those of one request."""
        return [asked for asked in self if asked.answered_idx == request_idx]


class OfficialDeletes(Strict, frozen=True):
    """Finished requests as the `vastai` package's worker reports them: in today's dialect alone, good and bad mixed."""

    worker_id: int
    mtoken: str
    requests: tuple[ReportedCompletion, ...]

    def as_ours(self) -> list[DeleteRequests]:
        """A report for each value of success."""
        by_success: dict[bool, list[ReportedCompletion]] = {}
        for record in self.requests:
            by_success.setdefault(record.success, []).append(record)
        return [
            DeleteRequests(
                self.worker_id, self.mtoken, tuple(each.request_idx for each in found), success, tuple(found)
            )
            for success, found in by_success.items()
        ]


class ControlledAutoscaler(SimulatedAutoscaler):
    """The autoscaler, with `faults` before every route, and `routes`: what it was asked.

    It has an authority in the place of Vast's, whose root it hands out, and by which it signs workers' certificates.

    With `official_workers`, which may be changed at any time, deletes are taken as the `vastai` package's worker tells
    them; ours must tell them in both dialects.
    """

    faulty = Klein()

    def __init__(
        self, clock: IReactorTime, *, on_route: Callable[[Asked], None] = lambda asked: None, **options: Any
    ) -> None:
        self.routes = Routes()
        self.faults = Faults()
        self.official_workers = False
        self._hold_seconds = 0.0
        self._held_until: float | None = None
        self._authority: Authority | None = None

        def record(asked: Asked) -> None:
            self.routes.append(asked)
            on_route(asked)

        super().__init__(clock, on_route=record, **options)

    @property
    def authority(self) -> Authority:
        """The authority, made when it is first asked for: that takes a while."""
        if self._authority is None:
            self._authority = Authority(self._clock.seconds())
        return self._authority

    def hold(self, seconds: float) -> None:
        """Give nobody a worker for so long from the next question on, whatever is ready."""
        self._hold_seconds, self._held_until = seconds, None

    def choose_worker(self, request_idx: int) -> WorkerTotals | str:
        now = self._clock.seconds()
        if self._hold_seconds:
            self._held_until = self._held_until or now + self._hold_seconds
            if now < self._held_until:
                states = self.totals.states(now)
                states["loading"] += states.pop("ready", 0)
                return breakdown(states)
        return super().choose_worker(request_idx)

    def read_deletes(self, body: bytes) -> Sequence[DeleteRequests]:
        return read(body, OfficialDeletes).as_ours() if self.official_workers else super().read_deletes(body)

    def resource(self) -> KleinResource:
        return self.faulty.resource()

    @faulty.route("/", branch=True)
    async def _meet_faults(self, request: Request) -> KleinResource:
        await self.faults.meet(request)
        return super().resource()

    @faulty.route("/static/jvastai_root.cer", methods=["GET"])
    def _root(self, request: Request) -> bytes:
        return responses.send_bytes(request, self.authority.root, b"application/x-x509-ca-cert")

    @faulty.route("/api/v0/sign_cert/", methods=["POST"])
    def _sign(self, request: Request) -> bytes:
        if responses.header(request, b"Content-Type") != "application/octet-stream":
            raise responses.ErrorResponse(400, {"error": "the signing request must be application/octet-stream"})
        try:
            certificate = self.authority.sign(responses.read_body(request), "127.0.0.1")
        except ValueError as error:
            raise responses.ErrorResponse(400, {"error": str(error)}) from None
        return responses.send_bytes(request, certificate, b"application/octet-stream")

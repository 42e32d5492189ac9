"""Reports the worker's condition and finished requests to the autoscaler."""

from __future__ import annotations

import shutil
from collections.abc import Callable

from attrs import define, field
from twisted.application import service
from twisted.internet.defer import CancelledError, Deferred, DeferredList, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from vespa.accounting.ledger import Ledger
from vespa.accounting.records import Snapshot
from vespa.runtime.backoff import Backoff
from vespa.runtime.deadlines import within
from vespa.runtime.services import SurvivingLoop
from vespa.vast.status_report import Condition, Identity, by_success, delete_requests, worker_status
from vespa.worker.launch import TOLD
from vespa.worker.reporting_client import ReportingClient

HEARTBEAT_SECONDS = 10.0  # without changes, a report is sent this long after the last one that was delivered

DELETES_AT_ONCE = 1000  # the maximum number of finished requests in one body

NO_DELETES = frozenset({"https://cloud.vast.ai/api/v0"})  # addresses that accept reports but no deletes

DISK_SECONDS = 60.0  # the minimum time between two measurements of the disk, which may block


def used_gigabytes() -> float:
    """The used space of the root disk in GB. Raises OSError."""
    return shutil.disk_usage("/").used / 2**30


@define(eq=False, slots=False)
class DiskGauge:
    """The disk's usage in GB, measured once a minute at most. After an error the last figure stays."""

    _measure: Callable[[], float]
    _clock: IReactorTime
    _measured_at: float | None = field(default=None, init=False)
    _value = 0.0

    def read(self) -> float:
        """The usage in GB, up to a minute old."""
        now = self._clock.seconds()
        if self._measured_at is None or now - self._measured_at >= DISK_SECONDS:
            self._measured_at = now
            try:
                self._value = self._measure()
            except OSError:
                pass
        return self._value


class Pause:
    """Decides when to try again after a failed delivery."""

    def __init__(self, clock: IReactorTime, random: Callable[[], float]) -> None:
        self._clock = clock
        self._backoff = Backoff(1.0, 2.0, 30.0, 0.5, random)
        self._until = 0.0

    def over(self) -> bool:
        """Whether to try now."""
        return self._clock.seconds() >= self._until

    def record(self, delivered: bool) -> None:
        """Note the result of a try."""
        if delivered:
            self._backoff.reset()
        else:
            self._until = self._clock.seconds() + self._backoff.next()


@define(eq=False, slots=False)
class Reporter(service.Service):
    """
    Two loops, one for reports and one for deletes, each with one call at a time.

    Only what was delivered is subtracted from the ledger. Everything else, and what happens meanwhile, is in the next
    call. So while the autoscaler is unreachable, only the ledger's bounded sums and records grow.

    `delivered_at` is the time of the last report that was delivered, in epoch seconds, 0.0 before the first, and
    `delivered_load` its load in millionths.

    Times in seconds. `disk_usage` in GB; it may block. `stopService` takes `last_reports_seconds` at most.
    """

    log = Logger()

    _listener: ReportingClient
    _ledger: Ledger
    _condition: Callable[[], Condition]
    _identity: Identity
    _clock: IReactorTime
    _random: Callable[[], float]
    _report_interval: float = 1.0
    _delete_interval: float = 1.0
    _disk_usage: Callable[[], float] = used_gigabytes
    _last_reports_seconds: float = 2.0
    _told: Condition | None = field(default=None, init=False)
    _told_disk: float | None = field(default=None, init=False)
    reports_delivered = reports_failed = 0  # since the start; a report fails if no address took it in any round
    deletes_delivered = deletes_failed = 0  # likewise, bodies with finished requests
    _told_at = 0.0
    _told_loadtime = False
    _unreported_since: float | None = None
    _undeleted_since: float | None = None
    delivered_at = 0.0
    delivered_load = 0

    def __attrs_post_init__(self) -> None:
        clock = self._clock
        self._disk = DiskGauge(self._disk_usage, clock)
        self._report_pause = Pause(clock, self._random)
        self._delete_pause = Pause(clock, self._random)
        seconds = self._last_reports_seconds / 2
        self._loops = [
            SurvivingLoop(clock, interval, call, stop_seconds=seconds, what=what)
            for interval, call, what in (
                (self._report_interval, self._report_if_due, "sending a report"),
                (self._delete_interval, self._delete_if_due, "reporting finished requests"),
            )
        ]

    @property
    def undelivered_since(self) -> float | None:
        """The time since which the oldest change waits for its delivery; None if the autoscaler has everything."""
        waiting = [since for since in (self._unreported_since, self._undeleted_since) if since is not None]
        return min(waiting, default=None)

    def startService(self) -> None:
        """Start reporting, at once."""
        super().startService()  # type: ignore[no-untyped-call]
        for loop in self._loops:
            loop.startService()

    def stopService(self) -> Deferred[None]:
        """Send the last deletes and one last report. Fires when they are delivered or the time is up; does not fail."""
        if not self.running:
            return succeed(None)
        super().stopService()  # type: ignore[no-untyped-call]
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        try:
            await within(self._last_reports_seconds, self._clock, self._last_reports())
        except TimeoutError:
            self.log.warn("the autoscaler did not take the last reports in time, so they are lost")

    async def _last_reports(self) -> None:
        """Let the calls in flight end, because they may succeed, then send the rest, both kinds in parallel."""
        await DeferredList([loop.stopService() for loop in self._loops], consumeErrors=True)
        condition = self._condition()
        last_words = [self._delete(), self._report(self._ledger.snapshot(), condition)]
        await DeferredList([Deferred.fromCoroutine(words).addErrback(self._unsaid) for words in last_words])
        if condition.error_msg and self._told == condition:
            self.log.info("{told}", told=TOLD)

    def _unsaid(self, failure: Failure) -> None:
        if not isinstance(failure.value, CancelledError):
            self.log.failure("the last reports failed", failure)

    async def _report_if_due(self) -> None:
        snapshot, condition = self._ledger.snapshot(), self._condition()
        quiet = not snapshot.changed and condition == self._told
        if quiet:
            self._unreported_since = None
            if self._clock.seconds() - self._told_at < HEARTBEAT_SECONDS:
                return
        elif self._unreported_since is None:
            self._unreported_since = self._clock.seconds()
        if self._report_pause.over():
            self._report_pause.record(await self._report(snapshot, condition))

    async def _report(self, snapshot: Snapshot, condition: Condition) -> bool:
        """Report the worker's condition. Returns whether it was delivered."""
        disk = self._disk.read()
        body = worker_status(
            self._identity,
            condition,
            snapshot,
            disk_usage=disk,
            additional_disk_usage=0.0 if self._told_disk is None else disk - self._told_disk,
            loadtime=0.0 if self._told_loadtime else condition.loadtime,
        )
        if not await self._listener.post("/worker_status/", body):
            self.reports_failed += 1
            return False
        self.reports_delivered += 1
        self._unreported_since = None  # for changes meanwhile, the next check sets it
        self._ledger.acknowledge(snapshot)
        self._told = condition
        self._told_at = self.delivered_at = self._clock.seconds()
        self.delivered_load = snapshot.load
        self._told_disk = disk
        self._told_loadtime = condition.loadtime > 0
        return True

    async def _delete_if_due(self) -> None:
        if self._undeleted_since is None and self._ledger.deletes(1):
            self._undeleted_since = self._clock.seconds()
        if self._delete_pause.over():
            self._delete_pause.record(await self._delete())

    async def _delete(self) -> bool:
        """Report all finished requests, in bodies of limited size, until one fails. Returns whether all succeeded."""
        while records := self._ledger.deletes(DELETES_AT_ONCE):
            groups = by_success(records)
            for group, body in zip(groups, delete_requests(self._identity, records), strict=True):
                if not await self._listener.post("/delete_requests/", body, skip=NO_DELETES):
                    self.deletes_failed += 1
                    return False
                self.deletes_delivered += 1
                self._ledger.acknowledge_deletes(group)
        self._undeleted_since = None
        return True


def failure_reporter(
    listener: ReportingClient, message: str, identity: Identity, clock: IReactorTime, *, random: Callable[[], float]
) -> Reporter:
    """A reporter for a worker that cannot start. It reports the error every ten seconds, and nothing else."""
    condition = Condition(loadtime=0.0, max_perf=0.0, error_msg=message, ready=False)
    return Reporter(listener, Ledger(1), lambda: condition, identity, clock, random=random)

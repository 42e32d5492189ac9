"""Telling the autoscaler how the worker does and which requests are over."""

from __future__ import annotations

import shutil
from collections.abc import Callable

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

HEARTBEAT_SECONDS = 10.0
"""With nothing new to say, a report goes out this long after the last one delivered."""

DELETES_AT_ONCE = 1000
"""How many ended requests one body tells of."""

NO_DELETES = frozenset({"https://cloud.vast.ai/api/v0"})
"""Addresses that take reports but no deletes."""

DISK_SECONDS = 60.0
"""A disk is asked this often at most: asking may block."""


def used_gigabytes() -> float:
    """What is used of the root disk. Raises OSError."""
    return shutil.disk_usage("/").used / 2**30


class DiskGauge:
    """The disk's usage in GB, asked once a minute at most. The last figure stands while the disk does not tell."""

    def __init__(self, measure: Callable[[], float], clock: IReactorTime) -> None:
        self._measure = measure
        self._clock = clock
        self._measured_at: float | None = None
        self._value = 0.0

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
    """When to try again after something was not delivered."""

    def __init__(self, clock: IReactorTime, random: Callable[[], float]) -> None:
        self._clock = clock
        self._backoff = Backoff(1.0, 2.0, 30.0, 0.5, random)
        self._until = 0.0

    def over(self) -> bool:
        """Whether it may be tried now."""
        return self._clock.seconds() >= self._until

    def record(self, delivered: bool) -> None:
        """Take note of how a try went."""
        if delivered:
            self._backoff.reset()
        else:
            self._until = self._clock.seconds() + self._backoff.next()


class Reporter(service.Service):
    """
    Two loops, one for reports and one for deletes, each with one call under way at most.

    What was delivered is taken off the ledger, and only that: what fails, or happens meanwhile, is in the next call. So
    an outage of the autoscaler piles up nothing but the ledger's own bounded sums and records.
    """

    log = Logger()

    def __init__(
        self,
        listener: ReportingClient,
        ledger: Ledger,
        condition: Callable[[], Condition],
        identity: Identity,
        clock: IReactorTime,
        *,
        random: Callable[[], float],
        report_interval: float = 1.0,
        delete_interval: float = 1.0,
        disk_usage: Callable[[], float] = used_gigabytes,
        last_reports_seconds: float = 2.0,
    ) -> None:
        """Times in seconds. `disk_usage` in GB; it may block. A stop takes `last_reports_seconds` at most."""
        self._listener = listener
        self._ledger = ledger
        self._condition = condition
        self._identity = identity
        self._clock = clock
        self._disk = DiskGauge(disk_usage, clock)
        self._last_reports_seconds = last_reports_seconds
        self._report_pause = Pause(clock, random)
        self._delete_pause = Pause(clock, random)
        seconds = last_reports_seconds / 2
        self._loops = [
            SurvivingLoop(clock, report_interval, self._report_if_due, stop_seconds=seconds, what="a report"),
            SurvivingLoop(
                clock,
                delete_interval,
                self._delete_if_due,
                stop_seconds=seconds,
                what="the report of requests that ended",
            ),
        ]
        self._told: Condition | None = None
        self._told_at = 0.0
        self._told_disk: float | None = None
        self._told_loadtime = False

    def startService(self) -> None:
        """Begin to report, at once."""
        super().startService()  # type: ignore[no-untyped-call]
        for loop in self._loops:
            loop.startService()

    def stopService(self) -> Deferred[None]:
        """Tell the last deletes and one last report. Fires when they are told or the time is up; does not fail."""
        if not self.running:
            return succeed(None)
        super().stopService()  # type: ignore[no-untyped-call]
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        try:
            await within(self._last_reports_seconds, self._clock, self._last_reports())
        except TimeoutError:
            self.log.warn("the autoscaler could not be told the last news in time")

    async def _last_reports(self) -> None:
        """Let the calls under way end, for they may be delivered, and then tell what is left, both kinds at once."""
        await DeferredList([loop.stopService() for loop in self._loops], consumeErrors=True)
        condition = self._condition()
        last_words = [self._delete(), self._report(self._ledger.snapshot(), condition)]
        await DeferredList([Deferred.fromCoroutine(words).addErrback(self._unsaid) for words in last_words])
        if condition.error_msg and self._told == condition:
            self.log.info("{told}", told=TOLD)

    def _unsaid(self, failure: Failure) -> None:
        if not isinstance(failure.value, CancelledError):
            self.log.failure("the last news could not be told", failure)

    async def _report_if_due(self) -> None:
        snapshot, condition = self._ledger.snapshot(), self._condition()
        quiet = not snapshot.changed and condition == self._told
        if quiet and self._clock.seconds() - self._told_at < HEARTBEAT_SECONDS:
            return
        if self._report_pause.over():
            self._report_pause.record(await self._report(snapshot, condition))

    async def _report(self, snapshot: Snapshot, condition: Condition) -> bool:
        """Report how the worker does; whether it was delivered."""
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
            return False
        self._ledger.acknowledge(snapshot)
        self._told = condition
        self._told_at = self._clock.seconds()
        self._told_disk = disk
        self._told_loadtime = condition.loadtime > 0
        return True

    async def _delete_if_due(self) -> None:
        if self._delete_pause.over():
            self._delete_pause.record(await self._delete())

    async def _delete(self) -> bool:
        """Tell of all requests that are over, in bounded bodies, until one is not delivered; whether all were."""
        while records := self._ledger.deletes(DELETES_AT_ONCE):
            groups = by_success(records)
            for group, body in zip(groups, delete_requests(self._identity, records), strict=True):
                if not await self._listener.post("/delete_requests/", body, skip=NO_DELETES):
                    return False
                self._ledger.acknowledge_deletes(group)
        return True


def failure_reporter(
    listener: ReportingClient, message: str, identity: Identity, clock: IReactorTime, *, random: Callable[[], float]
) -> Reporter:
    """A reporter for a worker that cannot start: it says so, every ten seconds, and nothing else."""
    condition = Condition(loadtime=0.0, max_perf=0.0, error_msg=message, ready=False)
    return Reporter(listener, Ledger(1), lambda: condition, identity, clock, random=random)

"""Whatever clients and backend do, nothing is left over, and every request is reported once."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from random import Random
from typing import Any

from OpenSSL.SSL import TLS_CLIENT_METHOD, Connection, Context, WantReadError
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.task import deferLater
from twisted.logger import LogEvent, LogLevel, formatEvent

from tests.logs import observe_log
from tests.processes import NotInTime, ProcessCase, until
from tests.seeds import described, random_source
from tests.stateful.harness import WorkerHarness
from tests.stateful.visit import HangUp, Visit, Wrong
from tests.stateful.worker_requests import Kinds, add_routes
from tests.system.case import QUICK
from tests.system.certificates import Pair
from tests.system.peer import connect, way
from tests.system.scripted import ScriptedBackend

REQUESTS = 500
AT_ONCE = 30
CANCELLED, CANCELLED_AWAY = 11, 1
"""So many requests at least are cancelled in a run; few where the backend is away now and then, and refuses most."""
SETTLE_SECONDS = 10.0
LOOKED_AT_SECONDS = 3
"""An ended request is kept until its batch is looked at, and the last ones until the next second of the status."""
SETTINGS = {**QUICK, "VESPA_BACKEND_KEEPALIVE": "0.2", "VESPA_MAX_WAIT_TIME": "0.6"}


class WorkerTests(ProcessCase):
    async def build(self, listen: str, **settings: str) -> WorkerHarness:
        """A worker between a simulated autoscaler and a scripted backend, ready."""
        deployment = self.deployed = self.deployment()
        await deployment.start_autoscaler()
        backend = ScriptedBackend()
        add_routes(backend)
        deployment.backend_url = f"http://127.0.0.1:{await backend.listen()}"
        self.addCleanup(lambda: Deferred.fromCoroutine(backend.stop()))
        harness = WorkerHarness(self.temporary_folder(), deployment, backend, listen, {**SETTINGS, **settings})
        self.addCleanup(harness.stop)
        self.errors: list[str] = []
        observe_log(self, self.note_error)
        await until(lambda: harness.ready, what="ready")
        return harness

    def note_error(self, event: LogEvent) -> None:
        """Keep what is logged as an error or worse, with a traceback or without."""
        if event.get("log_level", LogLevel.info) >= LogLevel.error:
            self.errors.append(f"{event.get('log_namespace')}: {formatEvent(event)}")

    def visits(self, harness: WorkerHarness, dice: Random) -> list[Visit]:
        """As many visits as it takes to make all requests."""
        autoscaler = self.deployed.autoscaler
        kinds = Kinds(dice, lambda cost: autoscaler.assign(harness.public_url, cost))
        visits: list[Visit] = []
        made = 0
        while made < REQUESTS:
            pipelined = dice.random() < 0.15
            number = dice.randrange(2, 6) if pipelined else dice.choice([1, 1, 1, 2, 3])
            asks: list[Any] = []
            while len(asks) < number and not (asks and asks[-1].last):
                asks.append(dice.choice(kinds.small if pipelined else kinds.any)())
            made += len(asks)
            size = sum(len(ask.data) for ask in asks)
            hang_up = HangUp.at_random(dice, size) if dice.random() < 0.4 else None
            visits.append(Visit(asks, pipelined, hang_up, Random(dice.random())))
        return visits

    async def run_requests(
        self, seed: int, listen: str, trust: bytes = b"", *, away: bool = False, **settings: str
    ) -> None:
        harness = await self.build(listen, **settings)
        visits = self.visits(harness, random_source(seed))
        for visit in visits:
            visit.away = away
        waiting = iter(tuple(visits))
        endpoint = way(harness.port, trust=trust)

        wrong: list[str] = []

        async def some(waiting: Iterator[Visit]) -> None:
            for visit in waiting:
                try:
                    await visit.make(endpoint)
                except Wrong as error:
                    wrong.append(str(error))

        everybody = [some(waiting) for _ in range(AT_ONCE)]
        least_cancelled = CANCELLED_AWAY if away else CANCELLED
        everybody.append(self.leave_at_work(least_cancelled, harness, visits, random_source(seed + 100), endpoint))
        if away:
            everybody.append(self.come_and_go(harness))
        if trust:
            everybody += [self.fail_handshake(harness, random_source(seed + number)) for number in range(20)]
        await gatherResults([Deferred.fromCoroutine(one) for one in everybody], consumeErrors=True)
        self.assertEqual(wrong, [], f"run {seed}, {described()}")
        try:
            if away:  # it is logged that the backend does not listen, as it must be
                self.errors = [error for error in self.errors if "the backend refuses connections" not in error]
            await self.check(harness, visits, least_cancelled)
        except AssertionError as error:
            raise AssertionError(f"run {seed}, {described()}: {error}") from error

    async def come_and_go(self, harness: WorkerHarness) -> None:
        """A backend that refuses connections for a while, twice; those that it has stay."""
        for _ in range(2):
            await deferLater(reactor, 0.3)
            await harness.backend.refuse()
            await deferLater(reactor, 0.3)
            await harness.backend.listen(f"tcp:{harness.backend.port}:interface=127.0.0.1")
        await until(lambda: harness.ready, what="ready again")

    async def leave_at_work(
        self, least: int, harness: WorkerHarness, visits: list[Visit], dice: Random, endpoint: IStreamClientEndpoint
    ) -> None:
        """
        Clients that leave in the middle of their response, one after another, until so many requests were cancelled.

        Of those that leave at random, on a slow machine few have been served so far that there is something to cancel.
        """
        kinds = Kinds(dice, lambda cost: self.deployed.autoscaler.assign(harness.public_url, cost))
        while harness.ledger.cancelled < least:
            hang_up = HangUp(received=1, politely=dice.random() < 0.5)
            visit = Visit([kinds.unending()], pipelined=False, hang_up=hang_up, dice=Random(dice.random()))
            visits.append(visit)
            await visit.make(endpoint)

    async def fail_handshake(self, harness: WorkerHarness, dice: Random) -> None:
        """Clients that end TLS's handshake half way, or speak something else."""
        handshake = Connection(Context(TLS_CLIENT_METHOD))
        handshake.set_connect_state()
        with contextlib.suppress(WantReadError):
            handshake.do_handshake()
        hello = handshake.bio_read(65536)
        no_tls = b"GET / HTTP/1.1\r\n\r\n"
        for _ in range(5):
            peer = await connect(way(harness.port))
            peer.keep = False
            peer.more(dice.choice([hello[: dice.randrange(len(hello))], hello, no_tls, dice.randbytes(99)]))
            await deferLater(reactor, dice.random() * 0.02)
            if not peer.lost:
                dice.choice([peer.cut, peer.leave])()
            await peer.gone

    async def check(self, harness: WorkerHarness, visits: list[Visit], least_cancelled: int) -> None:
        """Nothing is held, nothing was logged wrong, and the accounts of both sides agree to the last request."""
        try:
            await until(lambda: not harness.held(), SETTLE_SECONDS)
        except NotInTime:
            self.fail(f"still held: {harness.held()}")
        for _ in range(LOOKED_AT_SECONDS):
            if not harness.leaked():
                break
            await deferLater(reactor, 1.0)
        self.assertEqual(harness.leaked(), {})
        self.assertEqual(self.flushLoggedErrors(), [])
        self.assertEqual(self.errors, [])
        self.assertEqual(harness.backend.errors, [], "what the worker sent to the backend is HTTP")

        ledger, autoscaler = harness.ledger, self.deployed.autoscaler
        self.assertEqual(ledger.late, 0, "nothing reaches a request that has ended")
        complete = ledger.served + ledger.unserved
        self.assertEqual(ledger.received, complete + ledger.failed + ledger.cancelled + ledger.expired)
        self.assertEqual(ledger.dropped_deletes, 0)
        worker_totals = autoscaler.totals.of(7)
        await until(
            lambda: worker_totals.balance(autoscaler.totals.costs).adds_up and not worker_totals.in_flight,
            SETTLE_SECONDS,
        )
        self.assertEqual(autoscaler.malformed, [])
        self.assertEqual(worker_totals.duplicates, [])
        told = worker_totals.outcomes()
        self.assertEqual(told["Success"], complete)
        self.assertEqual(told["Error"], ledger.failed)
        self.assertEqual(told["Rejected"], ledger.refused + ledger.expired)
        self.assertGreaterEqual(told["Cancelled"], ledger.cancelled)
        self.assertEqual(worker_totals.requests_received, ledger.received + ledger.refused)

        genuine = {ask.request_idx for visit in visits for ask in visit.asks if ask.request_idx}
        self.assertLessEqual(set(worker_totals.deletes), genuine, "nothing is told of what was not signed")
        for visit in visits:
            for ask, status in visit.answered:
                if ask.request_idx:
                    self.assertEqual(
                        worker_totals.deletes.get(ask.request_idx), [self.outcome(ask.kind, status)], ask.kind
                    )
            for ask in visit.broken:
                if ask.request_idx:
                    self.assertEqual(worker_totals.deletes.get(ask.request_idx), ["Error"], ask.kind)
        answered = Counter(ask.kind for visit in visits for ask, _ in visit.answered)
        self.assertGreater(sum(answered.values()), REQUESTS // 2, answered)
        self.assertGreaterEqual(told["Cancelled"], least_cancelled, told)

        await harness.stop()
        await self.deployed.stop()
        await harness.backend.stop()
        await deferLater(reactor, 0)
        # The one that is left is the test's own timeout.
        self.assertEqual([str(call) for call in reactor.getDelayedCalls() if "onTimeout" not in str(call)], [])

    def outcome(self, kind: str, status: int) -> str:
        """What the autoscaler is to be told of a request that was answered so; below 0 by the worker's own refusal."""
        if status < 0:
            return "Rejected"
        return "Error" if status == 502 else "Success"

    async def test_plain(self) -> None:
        """Over plain sockets."""
        await self.run_requests(1, "tcp:0:interface=127.0.0.1")

    async def test_queue(self) -> None:
        """With few slots, a short queue and a short longest wait."""
        await self.run_requests(
            2,
            "tcp:0:interface=127.0.0.1",
            VESPA_MAX_CONCURRENCY="3",
            VESPA_MAX_QUEUE="25",
            VESPA_MAX_WAIT_TIME="5",
            VESPA_QUEUE_TIMEOUT="0.05",
        )

    async def test_refusing_backend(self) -> None:
        """With a backend that refuses connections now and then."""
        await self.run_requests(5, "tcp:0:interface=127.0.0.1", away=True, VESPA_MAX_WAIT_TIME="5")

    async def test_one_connection(self) -> None:
        """With one connection to the backend for all requests."""
        await self.run_requests(3, "tcp:0:interface=127.0.0.1", VESPA_CONNECTION_LIMIT="1", VESPA_MAX_WAIT_TIME="5")

    async def test_tls(self) -> None:
        """Over TLS, with few slots."""
        pair = Pair(self.temporary_folder())
        listen = f"ssl:0:privateKey={pair.key_file}:certKey={pair.cert_file}:interface=127.0.0.1"
        await self.run_requests(4, listen, pair.certificate, VESPA_MAX_CONCURRENCY="10", VESPA_MAX_WAIT_TIME="5")

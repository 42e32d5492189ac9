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
SETTLE_SECONDS = 10.0
LOOKED_AT_SECONDS = 3
"""An ended request is kept until its batch is looked at, and the last ones until the next second of the status."""
SETTINGS = {**QUICK, "VESPA_BACKEND_KEEPALIVE": "0.2", "VESPA_MAX_WAIT_TIME": "0.6"}


class WorkerTests(ProcessCase):
    timeout = 90

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

    def visits(self, harness: WorkerHarness, dice: Random, leaving: float) -> list[Visit]:
        """As many visits as it takes to make all requests. `leaving` is the part of them that hang up."""
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
            hang_up = HangUp.at_random(dice, size) if dice.random() < leaving else None
            visits.append(Visit(asks, pipelined, hang_up, Random(dice.random())))
        return visits

    async def run_requests(
        self, seed: int, listen: str, trust: bytes = b"", *, away: bool = False, leaving: float = 0.4, **settings: str
    ) -> None:
        harness = await self.build(listen, **settings)
        visits = self.visits(harness, random_source(seed), leaving)
        for visit in visits:
            visit.away = away
        waiting = iter(visits)
        endpoint = way(harness.port, trust=trust)

        wrong: list[str] = []

        async def some(waiting: Iterator[Visit]) -> None:
            for visit in waiting:
                try:
                    await visit.make(endpoint)
                except Wrong as error:
                    wrong.append(str(error))

        everybody = [some(waiting) for _ in range(AT_ONCE)]
        if away:
            everybody.append(self.come_and_go(harness))
        if trust:
            everybody += [self.fail_handshake(harness, random_source(seed + number)) for number in range(20)]
        await gatherResults([Deferred.fromCoroutine(one) for one in everybody], consumeErrors=True)
        self.assertEqual(wrong, [], f"run {seed}, {described()}")
        try:
            if away:  # it is logged that the backend does not listen, as it must be
                self.errors = [error for error in self.errors if "the backend refuses connections" not in error]
            await self.check(harness, visits, least_cancelled=0 if away else 10)
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
        # While the backend is away nearly all are refused, and then nobody is there to be cancelled.
        self.assertGreater(told["Cancelled"], least_cancelled, told)

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
        # More of them leave, because some have not finished their handshake then, and are no request.
        await self.run_requests(
            4, listen, pair.certificate, leaving=0.45, VESPA_MAX_CONCURRENCY="10", VESPA_MAX_WAIT_TIME="5"
        )

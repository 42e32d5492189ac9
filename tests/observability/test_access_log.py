"""Laws of the access log: which requests have a line, where it goes, and how many lines strangers can cause."""

from __future__ import annotations

import io
import json
from typing import Any, cast

from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from tests.client import requests
from tests.client.rig import OTHER, ClientRig, assignment, response
from tests.observability.logged_requests import Ended, head_of
from tests.rig import DATE, GET, Rig, fields, post, status
from tests.worker.requests import envelope
from vespa.accounting.lifecycle import CANCELLED, FAILED, REFUSED, UNSERVED
from vespa.observability.access_log import (
    FAILURES_MAX,
    STRANGERS_MAX,
    WINDOW_SECONDS,
    AccessLog,
    Mode,
    log_requests,
    mode_of,
)
from vespa.observability.ended_requests import EndedRequests
from vespa.observability.request_id import RequestIds
from vespa.protocol.refusal import Refusal
from vespa.runtime.logging import Format, LineObserver
from vespa.transport.origin import Origin

RESPONSE = b"HTTP/1.1 200 OK\r\n" + DATE + b"Content-Length: 2\r\n\r\nok"
FAILURES = (UNSERVED, FAILED, CANCELLED, REFUSED)


class AccessCase(SynchronousTestCase):
    format: Format = "json"

    def setUp(self) -> None:
        self.clock = Clock()
        self.stream = io.StringIO()
        self.observer: LineObserver | None = LineObserver(self.stream, secrets=("a-known-secret",), format=self.format)
        self.events: list[LogEvent] = []
        observer = cast(ILogObserver, self.events.append)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def access_log(self, mode: Mode) -> AccessLog:
        log = AccessLog(mode, lambda: self.observer, RequestIds(lambda: 0.5), self.clock, names_upstreams=False)
        log.startService()
        self.addCleanup(log.stopService)
        return log

    def outcomes(self) -> list[str]:
        """The outcomes of the lines since the last call."""
        text = self.stream.getvalue()
        self.stream.seek(0)
        self.stream.truncate()
        return [json.loads(line)["outcome"] for line in text.splitlines()]

    def said(self) -> list[str]:
        """What was logged as events since the last call."""
        said = [formatEvent(event) for event in self.events if event["log_namespace"] == "vespa.access"]
        self.events.clear()
        return said


class ModeTests(AccessCase):
    def batch(self) -> list[Ended]:
        return [Ended(), Ended(), *(Ended(state=state) for state in FAILURES), Ended()]

    def test_modes(self) -> None:
        """`off` has no line, `failures` one for each request that was not served, `all` one for each."""
        failures = ["unserved", "failed", "cancelled", "refused"]
        modes: dict[Mode, list[str]] = {
            "off": [],
            "failures": failures,
            "all": ["served", "served", *failures, "served"],
        }
        for mode, outcomes in modes.items():
            self.access_log(mode).take(self.batch())
            self.assertEqual(self.outcomes(), outcomes)

    def test_one_write(self) -> None:
        """A batch is written at once, and one without a line not at all."""
        writes: list[str] = []
        assert self.observer is not None
        self.observer.stream = type("Stream", (), {"write": staticmethod(writes.append)})()
        log = self.access_log("failures")
        log.take([Ended(), Ended()])
        self.assertEqual(writes, [])
        log.take(self.batch())
        self.assertEqual([len(text.splitlines()) for text in writes], [4])

    def test_debug(self) -> None:
        """While the level is debug each request has a line, unless there is to be none."""
        assert self.observer is not None
        log, none = self.access_log("failures"), self.access_log("off")
        self.observer.level = LogLevel.debug
        log.take([Ended()])
        none.take([Ended()])
        self.assertEqual(self.outcomes(), ["served"])
        self.observer.level = LogLevel.info
        log.take([Ended()])
        self.assertEqual(self.outcomes(), [])

    def test_mode_of_debug(self) -> None:
        """A process that is started at level debug logs each request, unless it is to log none."""
        modes: tuple[Mode, ...] = ("off", "failures", "all")
        self.assertEqual([mode_of(mode, debug=True) for mode in modes], ["off", "all", "all"])
        self.assertEqual([mode_of(mode, debug=False) for mode in modes], list(modes))

    def test_level(self) -> None:
        """A log of warnings has the lines that warn; a log of errors has none."""
        assert self.observer is not None
        log = self.access_log("all")
        batch = [Ended(), Ended(state=FAILED, origin="backend"), Ended(state=CANCELLED), Ended(state=UNSERVED)]
        self.observer.level = LogLevel.warn
        log.take(batch)
        self.assertEqual(self.outcomes(), ["failed"])
        self.observer.level = LogLevel.error
        log.take(batch)
        self.assertEqual(self.outcomes(), [])

    def test_secrets(self) -> None:
        """A known secret is in no line, not even in an id that a caller chose."""
        self.access_log("all").take([Ended(head=head_of(b"/a-known-secret", b"X-Request-Id: a-known-secret"))])
        text = self.stream.getvalue()
        self.assertNotIn("a-known-secret", text)
        self.assertEqual(json.loads(text)["path"], "/[hidden]")


class TextTests(AccessCase):
    format = "text"

    def test_text(self) -> None:
        """A log in text has lines in text."""
        self.access_log("all").take([Ended(), Ended(state=FAILED)])
        first, second = self.stream.getvalue().splitlines()
        self.assertIn("info [vespa.access] 200 served", first)
        self.assertIn("[vespa.access] 200 failed", second)


class OtherLogTests(AccessCase):
    def test_events(self) -> None:
        """If the process logs elsewhere, each line is an event there, without the time that it has itself."""
        self.observer = None
        self.access_log("all").take([Ended(), Ended(state=FAILED, origin="backend")])
        self.assertEqual([event["log_level"].name for event in self.events], ["info", "warn"])
        first, second = self.said()
        self.assertTrue(first.startswith("200 served        501.0 ms  POST /v1/models cost="), first)
        self.assertTrue(second.startswith("200 failed        501.0 ms  POST /v1/models by=backend"), second)


class StrangersTests(AccessCase):
    def setUp(self) -> None:
        super().setUp()
        self.log = self.access_log("all")

    def strange(self, count: int, code: str = "bad_signature") -> None:
        """As many requests of callers that nothing has verified."""
        for _ in range(count):
            self.log.take([Ended(state=REFUSED, received_at=0.0, started_at=0.0, code=code, origin="client")])

    def test_bounded(self) -> None:
        """Of each code a few requests have a line in ten seconds; then one line has the number of the others."""
        self.strange(1204 + STRANGERS_MAX)
        self.strange(3, "bad_request")
        self.assertEqual(len(self.outcomes()), STRANGERS_MAX + 3)
        self.assertEqual(self.said(), [])
        self.clock.advance(WINDOW_SECONDS)
        self.assertEqual(
            self.said(),
            ["and 1,204 more like it in the last 10 s: bad_signature, by callers that are not verified"],
        )

    def test_again(self) -> None:
        """After that they have lines again, and no timer runs without them."""
        self.strange(STRANGERS_MAX + 1)
        self.clock.advance(WINDOW_SECONDS)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.outcomes()
        self.strange(2)
        self.assertEqual(len(self.outcomes()), 2)

    def test_hang_ups(self) -> None:
        """Callers that leave before they are verified are as few."""
        self.log.take([Ended(state=CANCELLED, received_at=0.0) for _ in range(100)])
        self.assertEqual(len(self.outcomes()), STRANGERS_MAX)
        self.clock.advance(WINDOW_SECONDS)
        self.assertIn("and 90 more like it in the last 10 s: cancelled", self.said()[0])

    def test_verified(self) -> None:
        """Verified callers are not limited in the log of all requests, whatever strangers do."""
        self.strange(STRANGERS_MAX + 1, "busy")
        self.outcomes()
        self.log.take([Ended(state=REFUSED, code="busy", status=429) for _ in range(2 * FAILURES_MAX)])
        self.assertEqual(len(self.outcomes()), 2 * FAILURES_MAX)

    def test_failures(self) -> None:
        """In the log of failures they are, so that an overloaded worker does not fill a disk."""
        log = self.access_log("failures")
        for code in ("busy", "no_reply"):
            log.take([Ended(state=REFUSED, code=code, status=429) for _ in range(FAILURES_MAX + 1500)])
        log.take([Ended(state=REFUSED, code="busy", received_at=0.0)])
        self.assertEqual(len(self.outcomes()), 2 * FAILURES_MAX + 1)
        self.clock.advance(WINDOW_SECONDS)
        self.assertEqual(
            self.said(), [f"and 1,500 more like it in the last 10 s: {code}" for code in ("busy", "no_reply")]
        )

    def test_stop(self) -> None:
        """At the stop the number so far is logged, and no timer is left."""
        self.strange(STRANGERS_MAX + 2)
        self.log.stopService()
        self.assertIn("and 2 more like it", self.said()[0])
        self.assertEqual(self.clock.getDelayedCalls(), [])


class WorkerTests(AccessCase):
    """A whole worker in memory, whose requests are logged."""

    def worker(self, mode: Mode = "failures", *, passes_ids: bool = False, **more: Any) -> Rig:
        clock = Clock()
        clock.advance(1_700_000_000.0)
        ended = EndedRequests(clock)
        ended.startService()
        rig = Rig(observer=ended, clock=clock, **more)
        log = log_requests(
            clock,
            rig.proxy,
            ended,
            RequestIds(lambda: 0.5),
            mode=mode,
            passes_ids=passes_ids,
            names_upstreams=rig.backends is not None,
            own_log=lambda: self.observer,
        )
        self.addCleanup(log.stopService)
        self.addCleanup(ended.stopService)
        return rig

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]

    def test_failure(self) -> None:
        """A failed request has one line, at once, and the caller has its id."""
        rig = self.worker()
        rig.backend.refusing = True
        response = rig.ask(GET).read()
        (line,) = self.lines()
        self.assertEqual((line["status"], line["code"], line["origin"]), (502, "backend_unreachable", "backend"))
        self.assertEqual(fields(response, b"x-request-id"), [line["request_id"].encode()])

    def test_served(self) -> None:
        """A served request has its line within a second. Its response passes byte for byte, without an id."""
        rig = self.worker("all")
        client = rig.ask(GET)
        rig.backend.wire.send(RESPONSE)
        self.assertEqual(client.read(), RESPONSE)
        self.assertEqual(self.lines(), [])
        rig.clock.advance(1)
        self.assertEqual([line["outcome"] for line in self.lines()], ["served"])
        self.assertNotIn(b"request-id", rig.backend.wire.read().lower())

    def test_left(self) -> None:
        """A caller that leaves has a line, unless nothing has verified it and it is one of many."""
        rig = self.worker()
        rig.ask(GET).hang_up()
        (line,) = self.lines()
        self.assertEqual((line["outcome"], line["status"], line["origin"]), ("cancelled", 0, "client"))
        secured = self.worker(secured=True)
        for _ in range(3 * STRANGERS_MAX):
            secured.ask(post(b"x" * 5, extra=b"X-Pad: 1\r\n")[:-3]).hang_up()
        self.assertEqual(len(self.lines()), 1 + STRANGERS_MAX)

    def test_bad_signatures(self) -> None:
        """Bad signatures have few lines, and each response has its id."""
        rig = self.worker(secured=True)
        rig.bad_signature = Refusal(401, "bad_signature", "the signature does not match")
        seen = set()
        for _ in range(3 * STRANGERS_MAX):
            response = rig.ask(post(envelope(b"{}"))).read()
            self.assertEqual(status(response), 401)
            seen.update(fields(response, b"x-request-id"))
        self.assertEqual(len(seen), 3 * STRANGERS_MAX)
        self.assertEqual([line["code"] for line in self.lines()], ["bad_signature"] * STRANGERS_MAX)
        self.assertLessEqual({line["request_id"].encode() for line in self.lines()}, seen)
        rig.clock.advance(WINDOW_SECONDS)
        self.assertIn("and 20 more like it in the last 10 s: bad_signature", self.said()[-1])

    def test_malformed(self) -> None:
        """Malformed heads have few lines, and each response has the id of its line."""
        rig = self.worker()
        ids = []
        for _ in range(3 * STRANGERS_MAX):
            response = rig.ask(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n").read()
            self.assertEqual(status(response), 400)
            ids += fields(response, b"x-request-id")
        lines = self.lines()
        self.assertEqual([line["request_id"].encode() for line in lines], ids[:STRANGERS_MAX])
        self.assertEqual(
            {(line["code"], line["path"], line["peer"]) for line in lines}, {("bad_request", "", "192.0.2.1")}
        )
        self.assertEqual(len(set(ids)), 3 * STRANGERS_MAX)

    def test_kept_connection(self) -> None:
        """The id of a refusal does not stay for the connection's next response."""
        rig = self.worker(secured=True)
        rig.bad_signature = Refusal(401, "bad_signature", "the signature does not match")
        client = rig.ask(post(envelope(b"{}")))
        self.assertEqual(len(fields(client.read(), b"x-request-id")), 1)
        rig.bad_signature = None
        client.send(post(envelope(b"{}")))
        rig.backend.wire.send(RESPONSE)
        self.assertEqual(client.read(), RESPONSE)

    def test_callers_id(self) -> None:
        """A caller's id is in the response of Vespa's own, in the line, and at the backend."""
        rig = self.worker()
        asked = b"GET / HTTP/1.1\r\nHost: worker\r\nX-Request-Id: mine\r\n\r\n"
        client = rig.ask(asked)
        self.assertEqual(fields(rig.backend.wire.read(), b"x-request-id"), [b"mine"])
        rig.backend.wire.hang_up()
        self.assertEqual(fields(client.read(), b"x-request-id"), [b"mine"])
        self.assertEqual([line["request_id"] for line in self.lines()], ["mine"])

    def test_backend(self) -> None:
        """Before several backends a line names the one that had the request: the last one, if it was moved."""
        rig = self.worker("all", several=[Origin("http", "a", 1), Origin("http", "b", 2)], concurrency=1, max_queue=0)
        rig.ways[0].refusing = True
        clients = [rig.ask(GET)]  # moved from the first to the second
        rig.clock.advance(0)
        rig.ways[0].refusing = False
        clients += [rig.ask(GET), rig.ask(GET)]  # the last finds all slots taken
        for which in (1, 0):
            rig.ways[which].wire.send(RESPONSE)
        rig.clock.advance(1)
        self.assertEqual([status(client.read()) for client in clients], [200, 200, 429])
        found = {(line["status"], line.get("upstream")) for line in self.lines()}
        self.assertEqual(found, {(200, "b:2"), (200, "a:1"), (429, None)})

    def test_trace(self) -> None:
        """A caller's trace passes to the backend as it came, and its id is in the line."""
        rig = self.worker("all", passes_ids=True)
        parent = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        rig.ask(b"GET / HTTP/1.1\r\nHost: a\r\ntraceparent: %b\r\ntracestate: a=1\r\n\r\n" % parent)
        sent = rig.backend.wire.read()
        rig.backend.wire.send(RESPONSE)
        rig.clock.advance(1)
        self.assertEqual((fields(sent, b"traceparent"), fields(sent, b"tracestate")), ([parent], [b"a=1"]))
        self.assertEqual([line["trace_id"] for line in self.lines()], ["0af7651916cd43dd8448eb211c80319c"])

    def test_passed_on(self) -> None:
        """With `passes_ids` the backend gets the id that the log has, once for each request of a connection."""
        rig = self.worker("all", passes_ids=True)
        client = rig.client()
        told = []
        for _ in range(3):
            client.send(GET)
            told += fields(rig.backend.wire.read(), b"x-request-id")
            rig.backend.wire.send(RESPONSE)
            client.read()
        rig.clock.advance(1)
        self.assertEqual(len(set(told)), 3)
        self.assertEqual([line["request_id"].encode() for line in self.lines()], told)


class ClientTests(AccessCase):
    def test_worker(self) -> None:
        """A line of the client names the worker that had the request, the last of several."""
        ended = EndedRequests(self.clock)
        rig = ClientRig(observer=ended)
        log_requests(
            self.clock,
            rig.app.proxy,
            ended,
            RequestIds(lambda: 0.5),
            mode="all",
            passes_ids=False,
            names_upstreams=True,
            own_log=lambda: self.observer,
        )
        caller = rig.caller()
        caller.send(requests.post())
        rig.tell(assignment())
        rig.worker().send(response(503, b"", b"X-Vespa-Error: not_ready"))
        rig.tell(assignment(OTHER, idx=9))
        rig.worker(OTHER).send(response(200, b"ok"))
        ended.flush()
        (line,) = self.stream.getvalue().splitlines()
        self.assertEqual(json.loads(line)["upstream"], "http://203.0.113.8:31000")

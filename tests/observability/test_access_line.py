"""Laws of a line in the access log: what it holds, in which form, and what it never holds."""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.observability.logged_requests import AT, Ended, head_of, heads_alive
from vespa.accounting.lifecycle import CANCELLED, FAILED, REFUSED, SERVED, UNSERVED
from vespa.observability.access_line import KNOWN_MAX, JSONLines, TextLines
from vespa.observability.request_id import RequestIds
from vespa.proxy.proxied_request import PATH_MAX
from vespa.runtime.redaction import HIDDEN

KEYS = (
    "time level event request_id method path status outcome origin cost request_idx peer bytes_in bytes_out "
    "queue_ms connect_ms first_byte_ms total_ms"
).split()
TRACE = b"0af7651916cd43dd8448eb211c80319c"
NEVER: dict[str, Any] = {"received_at": 0.0, "started_at": 0.0, "first_byte_at": 0.0}


class LineCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.renew()

    def renew(self) -> None:
        """Forget all heads, and begin the ids again."""
        self.json = JSONLines(RequestIds(lambda: 0.5), names_upstreams=True)
        self.text = TextLines(RequestIds(lambda: 0.5), names_upstreams=True)

    def parsed(self, request: Ended) -> dict[str, Any]:
        (line,) = self.json.lines([request])
        self.assertTrue(line.endswith("}\n") and line.count("\n") == 1 and line.isascii(), line)
        parsed: dict[str, Any] = json.loads(line)
        return parsed

    def written(self, request: Ended) -> str:
        (line,) = self.text.lines([request])
        self.assertTrue(line.endswith("\n") and line.rstrip("\n").isprintable() and line.isascii(), line)
        return line


class JSONTests(LineCase):
    def test_served(self) -> None:
        """A served request has exactly these keys, in this order, and these values."""
        line = self.parsed(Ended())
        self.assertEqual(list(line), KEYS)
        self.assertEqual(
            list(line.values()),
            ["2026-11-23T17:18:55.261Z", "info", "request", "800000000000-00000001", "POST", "/v1/models", 200]
            + ["served", "", 2.5, 17, "10.1.2.3", 532, 1043, 1.0, None, 101.0, 501.0],
        )

    def test_failed(self) -> None:
        """A failed request adds its code, and a request with a trace its id. What it never reached is null."""
        head = head_of(b"/", b"traceparent: 00-%b-b7ad6b7169203331-01" % TRACE)
        request = Ended(
            state=FAILED,
            head=head,
            status=502,
            code="backend_unreachable",
            origin="backend",
            connect_seconds=2.0,
            first_byte_at=0.0,
            request_idx=None,
        )
        line = self.parsed(request)
        self.assertEqual(list(line), [*KEYS, "code", "trace_id"])
        self.assertEqual(
            [line[key] for key in ("level", "status", "outcome", "origin", "code", "trace_id", "request_idx")],
            ["warn", 502, "failed", "backend", "backend_unreachable", TRACE.decode(), None],
        )
        self.assertEqual([line[f"{key}_ms"] for key in ("queue", "connect", "first_byte")], [1.0, 2000.0, None])

    def test_trace_of_a_served_one(self) -> None:
        """A served request has its trace id, too."""
        head = head_of(b"/", b"traceparent: 00-%b-b7ad6b7169203331-01" % TRACE)
        for _ in range(2):
            line = self.parsed(Ended(head=head))
            self.assertEqual((list(line), line["trace_id"]), ([*KEYS, "trace_id"], TRACE.decode()))

    def test_malformed(self) -> None:
        """A request whose head is malformed has neither method nor path, nor times."""
        request = Ended(state=REFUSED, head=None, status=400, code="bad_request", origin="client", **NEVER)
        line = self.parsed(request)
        self.assertEqual((line["method"], line["path"], line["code"]), ("", "", "bad_request"))
        self.assertEqual({line[f"{key}_ms"] for key in ("queue", "connect", "first_byte", "total")}, {None})

    def test_upstream(self) -> None:
        """Of several upstreams, the line has the one that had the request; without one there is no such key."""
        line = self.parsed(Ended(upstream_address="127.0.0.1:8001"))
        self.assertEqual((list(line), line["upstream"]), ([*KEYS, "upstream"], "127.0.0.1:8001"))
        line = self.parsed(Ended(state=FAILED, status=502, code="no_reply", upstream_address='/run/"a" \u00e9.sock'))
        self.assertEqual((list(line), line["upstream"]), ([*KEYS, "upstream", "code"], '/run/"a" \u00e9.sock'))
        self.assertNotIn("upstream", self.parsed(Ended(state=REFUSED, status=429, code="busy", origin="vespa")))

    def test_only_upstream(self) -> None:
        """Where there is only one, a line is the same as that of a request without an upstream."""
        request = Ended(request_id="x")
        for cls, several in ((JSONLines, self.json), (TextLines, self.text)):
            one = cls(RequestIds(lambda: 0.5), names_upstreams=False)
            self.assertEqual(one.lines([request]), several.lines([request]))

    def test_same_line(self) -> None:
        """The quick way to a line of a served request makes the same line as the other."""
        for request in (
            Ended(request_id="x"),
            Ended(request_id="x", upstream_address="a:1"),
            Ended(
                request_id="x",
                upstream_address="b:2",
                head=head_of(b"/", b"traceparent: 00-%b-b7ad6b7169203331-01" % TRACE),
            ),
            Ended(request_id="x", request_idx=None, connect_seconds=0.0123456, work=1_000_001),
            Ended(request_id="x", head=head_of(b"/a%22b?x=1", b"X-Request-Id: y"), status=204, peer=""),
            Ended(request_id="x", head=head_of(b"/", b"traceparent: 00-%b-b7ad6b7169203331-01" % TRACE)),
        ):
            quick = self.parsed(request)
            request.state = UNSERVED
            request.status, status = 299, request.status
            slow = self.parsed(request)
            self.assertEqual({**slow, "outcome": "served", "status": status}, quick)
            self.assertEqual(list(slow), list(quick))

    def test_clock_set_back(self) -> None:
        """A clock that was set back makes no negative duration."""
        line = self.parsed(Ended(started_at=AT - 5, first_byte_at=AT - 4, ended_at=AT - 3))
        self.assertEqual([line[f"{key}_ms"] for key in ("queue", "first_byte", "total")], [0.0, 0.0, 0.0])


class TextTests(LineCase):
    def test_served(self) -> None:
        """Status, outcome and duration stand in columns, then method and path, then the rest by name."""
        self.assertEqual(
            self.written(Ended()),
            "2026-11-23T17:18:55.261Z info [vespa.access] 200 served        501.0 ms  POST /v1/models cost=2.5 "
            "request_idx=17 peer=10.1.2.3 in=532 out=1043 queue=1.0 first_byte=101.0 id=800000000000-00000001\n",
        )

    def test_failed(self) -> None:
        """What a request did not come to is left out; its code and who caused it follow the path."""
        request = Ended(
            state=FAILED,
            status=502,
            code="backend_unreachable",
            origin="backend",
            first_byte_at=0.0,
            connect_seconds=2,
            head=head_of(b"/", b"traceparent: 00-%b-b7ad6b7169203331-01" % TRACE),
        )
        self.assertEqual(
            self.written(request),
            "2026-11-23T17:18:55.261Z warn [vespa.access] 502 failed        501.0 ms  POST / backend_unreachable "
            "by=backend cost=2.5 request_idx=17 peer=10.1.2.3 in=532 out=1043 queue=1.0 connect=2000.0 "
            f"id=800000000000-00000001 trace={TRACE.decode()}\n",
        )

    def test_upstream(self) -> None:
        """Of several upstreams, the line has the one that had the request, as one word."""
        self.assertIn(
            "id=x upstream=127.0.0.1:8001\n", self.written(Ended(request_id="x", upstream_address="127.0.0.1:8001"))
        )
        failed = Ended(request_id="x", state=FAILED, upstream_address="/run/a b\x1b\u00e9.sock")
        self.assertIn("id=x upstream=/run/a?b?\\xe9.sock\n", self.written(failed))
        self.assertNotIn("upstream", self.written(Ended()))

    def test_columns(self) -> None:
        """The columns begin at the same place in each line."""
        at = set()
        for state in (SERVED, UNSERVED, FAILED, CANCELLED, REFUSED):
            for request in (Ended(state=state, status=0), Ended(state=state, head=None, **NEVER)):
                line = self.written(request)
                at.add(line.index("ms  ") if " ms  " in line else -1)
        self.assertEqual(len(at), 1)

    def test_same_line(self) -> None:
        """The quick way to a line of a served request makes the same line as the other."""
        for request in (
            Ended(request_id="x"),
            Ended(request_id="x", request_idx=None, connect_seconds=0.25, peer="", work=0),
            Ended(request_id="x", upstream_address="a:1"),
            Ended(request_id="x", head=head_of(b"/", b"traceparent: 00-%b-b7ad6b7169203331-01" % TRACE)),
        ):
            quick = self.written(request)
            request.state, request.status = UNSERVED, 299
            self.assertEqual(self.written(request).replace("299 unserved", "200 served  "), quick)


class ContentTests(LineCase):
    def test_no_query(self) -> None:
        """Neither the query nor a header field's value is in a line, in either form."""
        head = head_of(b"/p?serverless_signature=SECRET", b"Authorization: Bearer SECRET", b"Cookie: a=SECRET")
        for state in (SERVED, FAILED, REFUSED):
            request = Ended(state=state, head=head)
            for line in (*self.json.lines([request]), self.written(request)):
                self.assertIn("/p", line)
                self.assertNotIn("SECRET", line)

    def test_secret_in_a_path(self) -> None:
        """A caller that writes & for ? does not get its key logged."""
        request = Ended(head=head_of(b"/p&api_key=SECRET&a=1"))
        self.assertEqual(self.parsed(request)["path"], f"/p&api_key={HIDDEN}&a=1")
        self.assertIn(f"/p&api_key={HIDDEN}&a=1 ", self.written(request))

    def test_injection(self) -> None:
        """No path and no method ends a line, ends a string or drives a terminal."""
        head = head_of()
        for target in (b'/a", "level": "error', b"/a\r\nb", b"/\x1b[2J", b"/\xff\xc2\x85", b"/\\", b"/\x00"):
            head.target = target
            request = Ended(head=head, state=REFUSED)
            path = self.parsed(request)["path"]
            self.assertTrue(path.isprintable(), path)
            self.written(request)
            self.renew()
            quick = Ended(head=head)
            self.assertEqual(self.parsed(quick)["path"], path)
            self.written(quick)

    def test_long_path(self) -> None:
        """A path is no longer than its limit."""
        request = Ended(head=head_of(b"/" + b"x" * 8000))
        self.assertEqual(len(self.parsed(request)["path"]), PATH_MAX)
        self.assertLess(len(self.written(request)), PATH_MAX + 300)

    def test_heads(self) -> None:
        """Each line has the path of its own head, however many heads came before."""
        heads = [head_of(b"/%d" % number) for number in range(2 * KNOWN_MAX + 3)]
        for _ in range(2):
            paths = [json.loads(line)["path"] for line in self.json.lines([Ended(head=head) for head in heads])]
            self.assertEqual(paths, [f"/{number}" for number in range(len(heads))])

    def test_heads_remembered(self) -> None:
        """Of many heads only so many stay in memory."""
        for number in range(3 * KNOWN_MAX // 2):
            self.json.lines([Ended(head=head_of(b"/remembered/%d" % number))])
        alive = heads_alive(b"/remembered/")
        self.assertTrue(0 < alive <= KNOWN_MAX, alive)

    def test_taken_id(self) -> None:
        """The caller's id is the request's."""
        head = head_of(b"/", b"X-Request-Id: mine")
        for state in (SERVED, FAILED):
            self.assertEqual(self.parsed(Ended(head=head, state=state))["request_id"], "mine")
            self.assertIn(" id=mine\n", self.written(Ended(head=head, state=state)))

    def test_seconds(self) -> None:
        """Each line has its own time, in whatever order they come."""
        requests = [Ended(ended_at=AT + after) for after in (0.501, 61.2, 0.9999, 2)]
        requests[1].state = FAILED
        expected = ["17:18:55.261Z", "17:19:55.960Z", "17:18:55.760Z", "17:18:56.760Z"]
        self.assertEqual([json.loads(line)["time"][11:] for line in self.json.lines(requests)], expected)
        self.assertEqual([line[11:24] for line in self.text.lines(requests)], expected)

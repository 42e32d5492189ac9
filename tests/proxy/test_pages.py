"""A page behind the proxies: Origin, Referer and Host agree at the backend, and the address of the page is known."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.client.rig import ClientRig, assignment
from tests.rig import GET, Rig, fields, post, status

PAGE = b"http://localhost:8010"


BACKEND = b"backend:8000"


def browser(*lines: bytes, start: bytes = b"GET /app.js HTTP/1.1", host: bytes = b"localhost:8010") -> bytes:
    return b"\r\n".join((start, b"Host: " + host, *lines)) + b"\r\n\r\n"


class Chain(SynchronousTestCase):
    """Browser, client, worker, backend."""

    def pass_on(self, request: bytes) -> tuple[bytes, bytes]:
        """The request as the worker gets it, and as the backend gets it."""
        client = ClientRig()
        caller = client.caller()
        caller.send(request)
        client.tell(assignment())
        towards_worker = client.worker().read()
        worker = Rig(secured=True)
        answered = worker.ask(towards_worker)
        self.assertEqual(answered.read(), b"")
        return towards_worker, worker.backend.wire.read()

    def test_module_script(self) -> None:
        """The page's own scripts, its fetches and its WebSocket have the backend's Origin, as Host is the backend's."""
        upgrade = (b"Connection: keep-alive, Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Key: k")
        for request in (
            browser(b"Origin: " + PAGE, b"Referer: " + PAGE + b"/?x=1"),
            browser(b"Origin: " + PAGE, b"Content-Length: 2", start=b"POST /prompt HTTP/1.1") + b"{}",
            browser(
                b"Origin: " + PAGE, b"Content-Type: application/json", b"Content-Length: 2", start=b"POST /p HTTP/1.1"
            )
            + b"{}",
            browser(b"Origin: " + PAGE, *upgrade, start=b"GET /ws HTTP/1.1"),
        ):
            between, last = self.pass_on(request)
            self.assertEqual(fields(between, b"origin"), [b"http://" + fields(between, b"host")[0]])
            self.assertEqual(fields(last, b"host"), [BACKEND])
            self.assertEqual(fields(last, b"origin"), [b"http://" + BACKEND])
            if b"Referer" in request:
                self.assertEqual(fields(last, b"referer"), [b"http://" + BACKEND + b"/?x=1"])
            self.assertEqual(fields(last, b"upgrade"), [b"websocket"] if b"Sec-W" in request else [])

    def test_the_pages_address(self) -> None:
        """The backend is told what the browser has in its address bar, through both; who asks is the worker's word."""
        _, last = self.pass_on(browser(b"X-Forwarded-Host: evil.example", b"X-Forwarded-For: 6.6.6.6"))
        self.assertEqual(fields(last, b"x-forwarded-host"), [b"localhost:8010"])
        self.assertEqual(fields(last, b"x-forwarded-proto"), [b"http"])
        self.assertEqual(fields(last, b"x-forwarded-for"), [b"192.0.2.1"])

    def test_no_loop(self) -> None:
        """Each of the two is in Via, under a name of its own."""
        between, last = self.pass_on(browser())
        one, two = fields(last, b"via")
        self.assertEqual(fields(between, b"via"), [one])
        self.assertNotEqual(one, two)

    def test_names_like_the_clients_own(self) -> None:
        """Fields that must not reach a worker are removed, in any spelling."""
        between, _ = self.pass_on(browser(b"X_Api_Key: sk", b"x.serverless_Cost: 5", b"session_id: s", b"X_Vespa-A: 1"))
        for name in (b"x_api_key", b"x.serverless_cost", b"x_vespa-a"):
            self.assertEqual(fields(between, name), [])
        self.assertEqual(fields(between, b"session_id"), [b"s"])


class Worker(SynchronousTestCase):
    def sent(self, request: bytes, **options: object) -> bytes:
        """The request as an unsecured worker's backend gets it."""
        rig = Rig(**options)  # type: ignore[arg-type]
        rig.ask(request)
        return rig.backend.wire.read()

    def test_unsecured(self) -> None:
        """A page at the worker's own address is the backend's own, and any other is not."""
        for origin, expected in (
            (b"http://localhost:8010", b"http://backend:8000"),
            (b"https://localhost:8010", b"http://backend:8000"),
            (b"HTTP://LocalHost:8010", b"http://backend:8000"),
            (b"http://localhost:8011", None),
            (b"http://localhost", None),
            (b"http://localhost:80100", None),
            (b"http://localhost:8010.evil.example", None),
            (b"http://localhost:8010@evil.example", None),
            (b"http://evil.example\\@localhost:8010", None),
            (b"ws://localhost:8010", None),
            (b"null", None),
            (b"", None),
        ):
            sent = self.sent(browser(b"Origin: " + origin))
            self.assertEqual(fields(sent, b"origin"), [expected or origin], origin)

    def test_default_ports(self) -> None:
        """A port that goes without saying may be said."""
        for host, origin in (
            (b"h", b"http://h:80"),
            (b"h:80", b"http://h"),
            (b"h", b"https://h:443"),
            (b"h", b"https://h"),
        ):
            sent = self.sent(browser(b"Origin: " + origin, host=host))
            self.assertEqual(fields(sent, b"origin"), [b"http://backend:8000"], (host, origin))
        for host, origin in ((b"h", b"http://h:443"), (b"h:80", b"https://h"), (b"h", b"https://h:80")):
            sent = self.sent(browser(b"Origin: " + origin, host=host))
            self.assertEqual(fields(sent, b"origin"), [origin], (host, origin))

    def test_path_prefix(self) -> None:
        """A backend below a path sees its own paths in Referer, and none in Origin."""
        request = browser(b"Referer: http://localhost:8010/a", b"Origin: http://localhost:8010")
        sent = self.sent(request, path_prefix=b"/api")
        self.assertEqual(fields(sent, b"referer"), [b"http://backend:8000/api/a"])
        self.assertEqual(fields(sent, b"origin"), [b"http://backend:8000"])

    def test_only_these_lines(self) -> None:
        """Lines that hold the same text under other names, and the order of all, stay as they are."""
        line = b"Origin: http://localhost:8010"
        sent = self.sent(browser(b"X-" + line, line, b"X: " + line, line))
        lines = [b"X-" + line, b"Origin: http://backend:8000", b"X: " + line, b"Origin: http://backend:8000"]
        self.assertIn(b"\r\n".join(lines), sent)

    def test_believed_of_the_signed_alone(self) -> None:
        """X-Forwarded-Host and -Proto count where the request is signed, each is there once and is well formed."""
        own = (b"worker", b"http")
        for extra, expected in (
            (b"X-Forwarded-Host: page:1\r\nX-Forwarded-Proto: https\r\n", (b"page:1", b"https")),
            (b"X-Forwarded-Host: page:1\r\n", (b"page:1", b"http")),
            (b"X-Forwarded-Host: a\r\nX-Forwarded-Host: a\r\n", own),
            (b"X-Forwarded-Host: a, b\r\n", own),
            (b"X-Forwarded-Host: a/b\r\n", own),
            (b"X-Forwarded-Proto: gopher\r\n", own),
            (b"X-Forwarded-Proto: http, https\r\n", own),
        ):
            for secured in (True, False):
                rig = Rig(secured=secured)
                rig.ask(post(ENVELOPE if secured else b"{}", extra=extra))
                sent = rig.backend.wire.read()
                got = fields(sent, b"x-forwarded-host") + fields(sent, b"x-forwarded-proto")
                self.assertEqual(tuple(got), expected if secured else own, extra)


ENVELOPE = (
    b'{"auth_data":{"cost":1,"endpoint":"e","reqnum":1,"request_idx":1,"signature":"c2ln",'
    b'"url":"http://203.0.113.7:31000"},"payload":{}}'
)


class Loops(SynchronousTestCase):
    def test_loop(self) -> None:
        """A request that comes back from the backend is refused, and nothing more is sent."""
        rig = Rig()
        rig.ask(GET)
        sent = rig.backend.wire.read()
        again = rig.ask(sent)
        response = again.read()
        self.assertEqual(status(response), 508)
        self.assertIn(b"X-Vespa-Error: loop_detected", response)
        self.assertEqual(rig.backend.wire.read(), b"")
        self.assertTrue(len(rig.backend.wires) == 1 and rig.balanced())

    def test_others_in_via(self) -> None:
        """Proxies before us stay in it, ours comes last, with the version of the request."""
        rig = Rig()
        rig.ask(b"GET / HTTP/1.0\r\nVia: 1.1 a\r\nVia: 1.0 vespa-0000000000000000\r\n\r\n")
        ours = rig.proxy.via.lines[0].strip().partition(b": ")[2]
        self.assertRegex(ours, rb"1\.0 vespa-[0-9a-f]{16}")
        self.assertEqual(fields(rig.backend.wire.read(), b"via"), [b"1.1 a", b"1.0 vespa-0000000000000000", ours])


class MaxForwards(SynchronousTestCase):
    def test_options(self) -> None:
        """Max-Forwards 0 is answered by the worker itself, signed or not; a larger value is reduced by one."""
        for secured in (True, False):
            rig = Rig(secured=secured)
            client = rig.ask(b"OPTIONS /x HTTP/1.1\r\nHost: w\r\nMax-Forwards: 0\r\n\r\n")
            response = client.read()
            self.assertEqual((status(response), rig.backend.wires, rig.ledger.received), (204, [], 0))
            self.assertIn(b"Allow: ", response)
        rig = Rig()
        rig.ask(b"OPTIONS /x HTTP/1.1\r\nHost: w\r\nMax-Forwards: 10\r\n\r\n")
        self.assertEqual(fields(rig.backend.wire.read(), b"max-forwards"), [b"9"])

    def test_trace(self) -> None:
        """TRACE is answered here whatever it says."""
        client = Rig().ask(b"TRACE /x HTTP/1.1\r\nHost: w\r\nMax-Forwards: 3\r\n\r\n")
        self.assertEqual(status(client.read()), 405)

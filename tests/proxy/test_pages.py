"""A page behind the proxies: Origin, Referer and Host agree at the backend, and the address of the page is known."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.client.rig import ClientRig, assignment
from tests.rig import DATE, GET, OK, Rig, body, post, status
from vespa.http.limits import Limits

PAGE = b"http://localhost:8010"
BACKEND = b"backend:8000"


def fields(request: bytes, name: bytes) -> list[bytes]:
    """The values of a field, in order."""
    lines = [line.partition(b":") for line in request.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]]
    return [value.strip() for key, _, value in lines if key.lower() == name]


def browser(*lines: bytes, start: bytes = b"GET /app.js HTTP/1.1", host: bytes = b"localhost:8010") -> bytes:
    return b"\r\n".join((start, b"Host: " + host, *lines)) + b"\r\n\r\n"


class Chain(SynchronousTestCase):
    """Browser, client, worker, backend."""

    def pass_on(self, request: bytes) -> tuple[bytes, bytes]:
        """What the worker gets of a request, and what the backend."""
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
        """What a caller's program would keep from a worker is kept, however its name is spelt."""
        between, _ = self.pass_on(browser(b"X_Api_Key: sk", b"x.serverless_Cost: 5", b"session_id: s", b"X_Vespa-A: 1"))
        for name in (b"x_api_key", b"x.serverless_cost", b"x_vespa-a"):
            self.assertEqual(fields(between, name), [])
        self.assertEqual(fields(between, b"session_id"), [b"s"])


class Worker(SynchronousTestCase):
    def sent(self, request: bytes, **options: object) -> bytes:
        """What the backend of an unsecured worker gets."""
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
        """0 is answered here without a word to the backend, signed or not; more becomes one less."""
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


class Upgrades(SynchronousTestCase):
    H2C = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAAB\r\n"

    def test_h2c(self) -> None:
        """What every JDK's client offers is left out, and its request served with its body, as one without."""
        rig = Rig()
        client = rig.ask(post(b"{}", extra=self.H2C))
        sent = rig.backend.wire.read()
        for word in (b"h2c", b"HTTP2", b"pgrade"):
            self.assertNotIn(word, sent)
        self.assertEqual(body(sent), b"{}")
        rig.backend.wire.send(OK)
        self.assertEqual(body(client.read()), b"ok")
        self.assertTrue(client.open and rig.settled())

    def test_h2c_taken_all_the_same(self) -> None:
        """A backend that switches to what was not offered to it is a bad one, and no tunnel comes of it."""
        upgrade = b"Connection: Upgrade\r\nUpgrade: h2c, websocket\r\n"
        for extra in (self.H2C, upgrade):
            rig = Rig()
            client = rig.ask(b"GET / HTTP/1.1\r\nHost: w\r\n" + extra + b"\r\n")
            rig.backend.wire.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
            self.assertEqual(status(client.read()), 502)
            self.assertFalse(rig.backend.wire.open)

    def test_others_by_a_setting(self) -> None:
        """The setting's protocols, in any case and version, are offered in the caller's words, each once."""
        rig = Rig(limits=Limits(upgrades=frozenset((b"irc", b"websocket"))))
        rig.ask(
            b"GET / HTTP/1.1\r\nHost: w\r\nConnection: Upgrade\r\nUpgrade: h2c, IRC/6.9, WebSocket, websocket\r\n\r\n"
        )
        self.assertEqual(fields(rig.backend.wire.read(), b"upgrade"), [b"IRC/6.9, websocket"])
        rig = Rig(limits=Limits(upgrades=frozenset()))
        rig.ask(b"GET / HTTP/1.1\r\nHost: w\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        self.assertNotIn(b"pgrade", rig.backend.wire.read())

    def test_client(self) -> None:
        """The client leaves it out as well, and an offer that it leaves out is none to the official dialect."""
        for official in (False, True):
            rig = ClientRig(official=official)
            rig.caller().send(
                post(b"{}", extra=b"Content-Type: application/json\r\n" + self.H2C).replace(b"worker", b"localhost")
            )
            rig.tell(assignment())
            sent = rig.worker().read()
            self.assertNotIn(b"h2c", sent)
            self.assertTrue(sent.endswith(b',"payload":{}}'))


class Dates(SynchronousTestCase):
    def test_every_response(self) -> None:
        """Answers of the backend that lack a Date, answers of our own, and refusals of all kinds have one."""
        rig = Rig()
        client = rig.ask(GET)
        rig.backend.wire.send(OK)
        responses = [client.read()]
        for request in (
            GET.replace(b"GET / ", b"GET /ping "),
            b"OPTIONS * HTTP/1.1\r\nHost: w\r\n\r\n",
            b"BREW / HTTP/1.1\r\n\r\n",
            b"\x16\x03\x01\r\n\r\n",
            GET.replace(b"Host", b"X"),
            b"POST /pyworker/update HTTP/1.1\r\nHost: w\r\nContent-Length: 0\r\n\r\n",
        ):
            responses.append(rig.ask(request).read())
        full = Rig(limits=Limits(connections=1))
        full.ask(GET)  # an idle one would make room
        responses.append(full.client().read())
        for response in responses:
            self.assertEqual(response.partition(b"\r\n\r\n")[0].lower().count(b"\r\ndate: "), 1, response)

    def test_the_backends_own(self) -> None:
        """Its Date stays, in its spelling."""
        rig = Rig()
        client = rig.ask(GET)
        rig.backend.wire.send(OK.replace(b"\r\n", b"\r\ndate: Tue, 15 Nov 1994 08:12:31 GMT\r\n", 1))
        response = client.read()
        self.assertIn(b"\r\ndate: Tue, 15 Nov 1994 08:12:31 GMT\r\n", response)
        self.assertNotIn(b"Date", response)

    def test_goes_on(self) -> None:
        """It is the time of the response."""
        rig = Rig()
        self.assertEqual(rig.server.date(), DATE)
        self.assertIs(rig.server.date(), rig.server.date())
        rig.clock.advance(61)
        self.assertEqual(rig.server.date(), DATE.replace(b"22:13:20", b"22:14:21"))

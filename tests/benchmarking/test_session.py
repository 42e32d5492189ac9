"""The benchmark's session, over Twisted's real client and server joined in memory, under an asyncio loop."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
from collections.abc import Callable, Coroutine
from typing import Any

from treq.testing import RequestTraversalAgent
from twisted.internet.defer import Deferred, fail
from twisted.internet.error import ConnectionRefusedError, DNSLookupError
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http import Request
from twisted.web.iweb import IAgent
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

from vespa.benchmarking.aiohttp_names import BasicAuth, ClientTimeout, FormData, names, stand_in
from vespa.benchmarking.session import ClientSession
from vespa.benchmarking.session_agent import client_of
from vespa.benchmarking.session_encoding import encode_body, resolve

Handler = Callable[[Request], "bytes | int"]


class Backend(Resource):
    """Answers by the handler of the path; without one, tells what it was asked."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.handlers: dict[bytes, Handler] = {}
        self.requests: list[Request] = []

    def render(self, request: Request) -> Any:
        self.requests.append(request)
        return self.handlers.get(request.path, self.echo)(request)

    def echo(self, request: Request) -> bytes:
        request.setHeader("Content-Type", "application/json")
        fields = {
            name.decode(): [value.decode() for value in values]
            for name, values in request.requestHeaders.getAllRawHeaders()
        }
        body = request.content.read().decode("utf-8", "replace")
        seen = {"method": request.method.decode(), "uri": request.uri.decode(), "headers": fields, "body": body}
        return json.dumps(seen).encode()


class SessionTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.backend = Backend()
        self.agent = RequestTraversalAgent(self.backend)
        self.session = ClientSession("http://backend:8000", client=client_of(self.agent))

    def run_scenario(self, scenario: Coroutine[Any, Any, Any]) -> Any:
        loop = asyncio.new_event_loop()
        try:
            return loop.run_until_complete(scenario)
        finally:
            loop.close()

    def seen(self, method: str, url: str, session: ClientSession | None = None, **options: Any) -> dict[str, Any]:
        """What the backend saw of one request."""

        async def scenario() -> Any:
            async with (session or self.session).request(method, url, **options) as response:
                return await response.json()

        result: dict[str, Any] = self.run_scenario(scenario())
        return result

    def fails(self, error: type[BaseException], scenario: Coroutine[Any, Any, Any]) -> Any:
        return self.assertRaises(error, self.run_scenario, scenario)


class RequestTests(SessionTests):
    def test_methods(self) -> None:
        """Each method of the session is that method on the wire."""
        for name in ("get", "post", "put", "delete", "patch", "options"):

            async def scenario(name: str = name) -> str:
                async with getattr(self.session, name)("/x") as response:
                    return (await response.json())["method"]

            self.assertEqual(self.run_scenario(scenario()), name.upper())

    def test_head(self) -> None:
        """HEAD has a status and headers and no body."""

        async def scenario() -> tuple[int, bytes]:
            async with self.session.head("/x") as response:
                return response.status, await response.read()

        self.assertEqual(self.run_scenario(scenario()), (200, b""))
        self.assertEqual(self.backend.requests[0].method, b"HEAD")

    def test_awaited(self) -> None:
        """A request may be awaited instead of entered."""

        async def scenario() -> Any:
            response = await self.session.post("/x", json={"a": 1})
            try:
                return (await response.json())["body"]
            finally:
                await response.release()

        self.assertEqual(json.loads(self.run_scenario(scenario())), {"a": 1})

    def test_not_sent(self) -> None:
        """A request that nobody awaits is never sent."""

        async def scenario() -> None:
            self.session.get("/x")

        self.run_scenario(scenario())
        self.assertEqual(self.backend.requests, [])

    def test_json(self) -> None:
        """`json` is the body, with its content type unless the caller gave one."""
        seen = self.seen("POST", "/x", json={"a": [1, "é"]})
        self.assertEqual(json.loads(seen["body"]), {"a": [1, "é"]})
        self.assertEqual(seen["headers"]["Content-Type"], ["application/json"])
        seen = self.seen("POST", "/x", json={}, headers={"content-type": "application/x-mine"})
        self.assertEqual(seen["headers"]["Content-Type"], ["application/x-mine"])

    def test_data(self) -> None:
        """`data` is bytes, text, a file, or a form."""
        for data, body, kind in (
            (b"\x01raw", "\x01raw", "application/octet-stream"),
            ("né", "né", "text/plain; charset=utf-8"),
            (io.BytesIO(b"file"), "file", "application/octet-stream"),
            ({"a": 1, "b": "c d"}, "a=1&b=c+d", "application/x-www-form-urlencoded"),
            ([("a", "1"), ("a", "2")], "a=1&a=2", "application/x-www-form-urlencoded"),
        ):
            seen = self.seen("POST", "/x", data=data)
            self.assertEqual((seen["body"], seen["headers"]["Content-Type"]), (body, [kind]))

    def test_no_body(self) -> None:
        """No body is a length of nothing, not a chunked one."""
        self.assertEqual(self.seen("POST", "/x")["headers"]["Content-Length"], ["0"])

    def test_headers(self) -> None:
        """The caller's headers replace the session's, and framing stays ours."""
        session = ClientSession("http://backend", client=client_of(self.agent), headers={"X-A": "1", "X-B": "2"})
        seen = self.seen("POST", "/x", session, data=b"abc", headers={"x-a": 3, "Content-Length": "99"})["headers"]
        self.assertEqual((seen["X-A"], seen["X-B"]), (["3"], ["2"]))
        self.assertEqual(seen["Content-Length"], ["3"])

    def test_params(self) -> None:
        """`params` join the query that the URL has."""
        self.assertEqual(self.seen("GET", "/x?a=1", params={"b": [2, 3], "c": "d e"})["uri"], "/x?a=1&b=2&b=3&c=d+e")
        self.assertEqual(self.seen("GET", "/x", params=[("a", "1"), ("a", "2")])["uri"], "/x?a=1&a=2")
        self.assertEqual(self.seen("GET", "/x", params="a=1&b=%2F")["uri"], "/x?a=1&b=%2F")

    def test_auth(self) -> None:
        """Basic authentication, and none in a redirect to another origin."""
        self.assertEqual(
            self.seen("GET", "/x", auth=BasicAuth("me", "pw"))["headers"]["Authorization"], ["Basic bWU6cHc="]
        )
        self.backend.handlers[b"/away"] = redirect(302, b"http://elsewhere/x")
        self.assertNotIn("Authorization", self.seen("GET", "/away", auth=("me", "pw"))["headers"])

    def test_ignored(self) -> None:
        """Options about connections are taken; a misspelt one is an error at once."""
        self.seen("GET", "/x", ssl=False, proxy=None)
        self.assertRaises(TypeError, self.session.get, "/x", timeuot=3)

    def test_prefix(self) -> None:
        """A backend under a path prefix gets every relative URL under it."""
        session = ClientSession("http://backend:8000/api/", client=client_of(self.agent))
        self.assertEqual(self.seen("GET", "/v1/models", session)["uri"], "/api/v1/models")
        self.assertEqual(self.seen("GET", "v1/models", session)["uri"], "/api/v1/models")
        self.assertEqual(self.seen("GET", "http://backend:8000/v1", session)["uri"], "/v1")

    def test_no_body_of_two(self) -> None:
        """`json` and `data` together, or what is no body at all, are errors."""
        self.fails(ValueError, self.session.send("POST", "/x", json={}, data=b""))
        self.fails(TypeError, self.session.send("POST", "/x", data=object()))

    def test_bad_url(self) -> None:
        """A URL that cannot be one is InvalidURL, as is a relative one without a base."""
        self.fails(names().InvalidURL, ClientSession(client=client_of(self.agent)).send("GET", "/x"))
        self.fails(names().InvalidURL, self.session.send("GET", "http://h:port/x"))


class ResponseTests(SessionTests):
    def answer(self, body: bytes, status: int = 200, **headers: str) -> None:
        def handler(request: Request) -> bytes:
            request.setResponseCode(status)
            for name, value in headers.items():
                request.setHeader(name.replace("_", "-"), value)
            return body

        self.backend.handlers[b"/a"] = handler

    def got(self, reader: Callable[[Any], Coroutine[Any, Any, Any]]) -> Any:
        async def scenario() -> Any:
            async with self.session.get("/a") as response:
                return await reader(response)

        return self.run_scenario(scenario())

    def test_status(self) -> None:
        """Status, reason and `ok` are what the backend said."""
        self.answer(b"no", 404)

        async def reader(response: Any) -> Any:
            return response.status, response.ok, response.reason, await response.read()

        self.assertEqual(self.got(reader), (404, False, "Not Found", b"no"))

    def test_raise_for_status(self) -> None:
        """From 400 on it raises ClientResponseError, with the status and the URL; below it does nothing."""
        self.answer(b"", 503)

        async def reader(response: Any) -> None:
            response.raise_for_status()

        error = self.assertRaises(names().ClientResponseError, self.got, reader)
        self.assertEqual(error.status, 503)
        self.assertIn("http://backend:8000/a", str(error))
        self.answer(b"", 399)
        self.got(reader)

    def test_session_raises(self) -> None:
        """A session or a request may ask for that at once."""
        self.answer(b"", 500)
        self.fails(names().ClientResponseError, self.session.send("GET", "/a", raise_for_status=True))
        strict = ClientSession("http://backend", client=client_of(self.agent), raise_for_status=True)
        self.fails(names().ClientResponseError, strict.send("GET", "/a"))

    def test_headers(self) -> None:
        """Headers are found in any case; repeats are kept."""

        def handler(request: Request) -> bytes:
            request.responseHeaders.setRawHeaders("X-Many", ["1", "2"])
            return b""

        self.backend.handlers[b"/a"] = handler

        async def reader(response: Any) -> Any:
            found = response.headers
            return (
                found["x-MANY"],
                found.getall("X-Many"),
                found.get("none"),
                "x-many" in found,
                "none" in found,
                [value for name, value in found.items() if name == "X-Many"],
                len(found) == len(list(found)),
            )

        self.assertEqual(self.got(reader), ("1", ["1", "2"], None, True, False, ["1", "2"], True))

    def test_json(self) -> None:
        """JSON is read whatever its content type; an empty body is None."""
        self.answer(b' {"a": 1} ', content_type="text/plain")

        async def reader(response: Any) -> Any:
            return await response.json(content_type=None), await response.json()

        self.assertEqual(self.got(reader), ({"a": 1}, {"a": 1}))
        self.answer(b"")
        self.assertEqual(self.got(reader), (None, None))
        self.answer(b"<html>\n <body>")
        error = self.assertRaises(ValueError, self.got, reader)
        self.assertIn("answered 200 with what is not JSON, '<html> <body>': Expecting value: line 1", str(error))
        self.assertTrue(str(error).startswith("http://backend:8000/"), str(error))

    def test_text(self) -> None:
        """Text is decoded by the charset of its content type, UTF-8 where there is none."""

        async def reader(response: Any) -> Any:
            return await response.text(), response.charset, response.content_type

        self.answer("é".encode("latin-1"), content_type='text/plain; charset="latin-1"')
        self.assertEqual(self.got(reader), ("é", "latin-1", "text/plain"))
        self.answer("é".encode(), content_type="text/html")
        self.assertEqual(self.got(reader), ("é", None, "text/html"))

    def test_gzip(self) -> None:
        """A compressed body is asked for and arrives plain."""
        self.answer(gzip.compress(b"plain" * 1000), content_encoding="gzip")
        self.assertEqual(self.got(lambda response: response.read()), b"plain" * 1000)
        self.assertEqual(self.backend.requests[0].requestHeaders.getRawHeaders("Accept-Encoding"), ["gzip"])

    def test_lines(self) -> None:
        """Iterating the content gives lines with their ends, the last one also without."""
        self.answer(b"data: 1\n\n" + b"x" * 300_000 + b"\nlast")

        async def reader(response: Any) -> list[int]:
            return [len(line) async for line in response.content]

        self.assertEqual(self.got(reader), [8, 1, 300_001, 4])

    def test_chunks(self) -> None:
        """However the content is read, it is the same bytes."""
        body = bytes(range(256)) * 2000

        async def by_any(response: Any) -> bytes:
            return b"".join([chunk async for chunk in response.content.iter_any()])

        async def by_size(response: Any) -> bytes:
            chunks = [chunk async for chunk in response.content.iter_chunked(1000)]
            self.assertTrue(all(0 < len(chunk) <= 1000 for chunk in chunks))
            return b"".join(chunks)

        async def by_pairs(response: Any) -> bytes:
            return b"".join([chunk async for chunk, _ in response.content.iter_chunks()])

        async def by_read(response: Any) -> bytes:
            first = await response.content.readexactly(10)
            second = await response.content.read(5)
            line = await response.content.readline()
            rest = await response.content.read()
            self.assertTrue(response.content.at_eof())
            self.assertEqual(await response.content.read(3), b"")
            self.assertEqual(await response.content.readline(), b"")
            return b"".join([first, second, line, rest])

        for reader in (by_any, by_size, by_pairs, by_read):
            self.answer(body)
            self.assertEqual(self.got(reader), body)

    def test_too_short(self) -> None:
        """Wanting an exact number of bytes that never come is IncompleteReadError."""
        self.answer(b"abc")
        error = self.assertRaises(
            asyncio.IncompleteReadError, self.got, lambda response: response.content.readexactly(4)
        )
        self.assertEqual(error.partial, b"abc")

    def test_cookies(self) -> None:
        """A cookie that the backend set comes back in the next request."""

        def handler(request: Request) -> bytes:
            request.addCookie("k", "v", path="/")
            return b""

        self.backend.handlers[b"/a"] = handler

        async def nothing(response: Any) -> None:
            return None

        self.got(nothing)
        self.assertEqual(self.seen("GET", "/x")["headers"]["Cookie"], ["k=v"])


def redirect(status: int, location: bytes) -> Handler:
    def handler(request: Request) -> bytes:
        request.setResponseCode(status)
        request.setHeader(b"Location", location)
        return b"moved"

    return handler


class RedirectTests(SessionTests):
    def test_methods(self) -> None:
        """A redirect keeps or changes the method, and keeps or drops the body, as aiohttp does."""
        for status, method, expected in (
            (301, "POST", "GET"),
            (302, "POST", "GET"),
            (303, "POST", "GET"),
            (303, "PUT", "GET"),
            (302, "PUT", "PUT"),
            (307, "POST", "POST"),
            (308, "POST", "POST"),
            (302, "GET", "GET"),
        ):
            self.backend.handlers[b"/from"] = redirect(status, b"/to?x=1")
            seen = self.seen(method, "/from", data=b"body")
            self.assertEqual((seen["method"], seen["uri"]), (expected, "/to?x=1"), (status, method))
            self.assertEqual(seen["body"], "body" if expected == method else "")

    def test_bound(self) -> None:
        """The eleventh redirect is TooManyRedirects."""
        self.backend.handlers[b"/loop"] = redirect(302, b"/loop")
        self.fails(names().TooManyRedirects, self.session.send("GET", "/loop"))
        self.assertEqual(len(self.backend.requests), 11)

    def test_not_followed(self) -> None:
        """A caller may see the redirect itself; HEAD sees it by default."""
        self.backend.handlers[b"/from"] = redirect(302, b"/to")

        async def scenario() -> list[int]:
            plain = await self.session.get("/from", allow_redirects=False)
            head = await self.session.head("/from")
            followed = await self.session.get("/from")
            return [plain.status, head.status, followed.status, len(followed.history)]

        self.assertEqual(self.run_scenario(scenario()), [302, 302, 200, 1])


class StreamTests(SessionTests):
    """Responses that arrive in parts: the backend writes while the benchmark reads."""

    def setUp(self) -> None:
        super().setUp()
        self.gone: list[Failure] = []

        def handler(request: Request) -> int:
            request.notifyFinish().addErrback(self.gone.append)
            request.setHeader("Content-Type", "text/event-stream")
            return NOT_DONE_YET

        self.backend.handlers[b"/stream"] = handler

    def write(self, data: bytes) -> None:
        self.backend.requests[-1].write(data)
        self.agent.flush()

    def test_as_it_comes(self) -> None:
        """A line is read as soon as it was written, long before the end."""

        async def scenario() -> list[bytes]:
            sending = asyncio.ensure_future(self.session.send("GET", "/stream"))
            await asyncio.sleep(0)
            self.write(b"data: 1\nda")
            response = await sending
            lines = [await response.content.readline()]
            reading = asyncio.ensure_future(response.content.readline())
            await asyncio.sleep(0)
            self.assertFalse(reading.done())
            self.write(b"ta: 2\n")
            lines.append(await reading)
            self.backend.requests[-1].finish()
            self.agent.flush()
            lines.append(await response.content.readline())
            return lines

        self.assertEqual(self.run_scenario(scenario()), [b"data: 1\n", b"data: 2\n", b""])

    def test_left_early(self) -> None:
        """Leaving a response before its end closes the connection."""

        async def scenario() -> None:
            sending = asyncio.ensure_future(self.session.send("GET", "/stream"))
            await asyncio.sleep(0)
            self.write(b"first\n")
            async with await sending:
                pass
            self.agent.flush()

        self.run_scenario(scenario())
        self.assertEqual(len(self.gone), 1)

    def test_cancelled(self) -> None:
        """A cancelled request closes the connection, before the head has arrived too."""

        async def scenario() -> None:
            sending = asyncio.ensure_future(self.session.send("GET", "/stream"))
            await asyncio.sleep(0)
            sending.cancel()
            await asyncio.wait([sending])
            self.assertTrue(sending.cancelled())
            self.agent.flush()

        self.run_scenario(scenario())
        self.assertEqual(len(self.gone), 1)

    def test_cut(self) -> None:
        """A body that is cut short is ClientPayloadError, after all that had arrived."""

        async def scenario() -> list[bytes]:
            sending = asyncio.ensure_future(self.session.send("GET", "/stream"))
            await asyncio.sleep(0)
            self.write(b"first\n")
            response = await sending
            lines = [await response.content.readline()]
            self.backend.requests[-1].transport.loseConnection()
            self.agent.flush()
            with self.assertRaises(names().ClientPayloadError):
                await response.content.readline()
            return lines

        self.assertEqual(self.run_scenario(scenario()), [b"first\n"])

    def test_timeout(self) -> None:
        """`timeout` bounds the wait for the head, and the wait for the body, and gives up the connection."""

        async def scenario() -> None:
            for timeout in (0.001, ClientTimeout(total=0.001)):
                with self.assertRaises(asyncio.TimeoutError):
                    await self.session.get("/stream", timeout=timeout)
            sending = asyncio.ensure_future(self.session.send("GET", "/stream", timeout=0.05))
            await asyncio.sleep(0)
            self.write(b"first\n")
            with self.assertRaises(asyncio.TimeoutError):
                async with await sending as response:
                    await response.read()
            self.agent.flush()

        self.run_scenario(scenario())
        self.assertEqual(len(self.gone), 3)

    def test_no_timeout(self) -> None:
        """None and 0 are no timeout."""
        for timeout in (None, 0, ClientTimeout()):
            self.assertEqual(self.seen("GET", "/x", timeout=timeout)["uri"], "/x")

    def test_backpressure(self) -> None:
        """A body that nobody reads is not taken from the network without limit; read, it is whole."""

        async def scenario() -> tuple[int, int]:
            sending = asyncio.ensure_future(self.session.send("GET", "/stream"))
            await asyncio.sleep(0)
            self.write(b"x")
            response = await sending
            self.write(b"x" * 300_000)
            self.assertTrue(response.content.paused)
            self.backend.requests[-1].finish()
            self.agent.flush()
            body = await response.read()
            self.assertFalse(response.content.paused)
            return len(body), response.status

        self.assertEqual(self.run_scenario(scenario()), (300_001, 200))


@implementer(IAgent)
class Broken:
    """An agent that fails each request."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def request(self, *arguments: object) -> Deferred[Any]:
        return fail(self.error)


class FailureTests(SessionTests):
    def failing(self, error: Exception) -> ClientSession:
        return ClientSession("http://backend:8000", client=client_of(Broken(error)))

    def test_no_connection(self) -> None:
        """A backend that is not there is ClientConnectorError, which names it."""
        for cause in (ConnectionRefusedError(osError=111), DNSLookupError("no such host")):
            error = self.fails(names().ClientConnectorError, self.failing(cause).send("GET", "/"))
            self.assertIn("backend:8000", str(error))
            self.assertIsInstance(error, names().ClientError)

    def test_no_response(self) -> None:
        """A connection that ends before the head is ServerDisconnectedError."""

        def handler(request: Request) -> int:
            request.transport.loseConnection()
            return NOT_DONE_YET

        self.backend.handlers[b"/a"] = handler
        error = self.fails(names().ServerDisconnectedError, self.session.send("GET", "/a"))
        self.assertIsInstance(error, names().ClientConnectionError)


class StandInTests(SynchronousTestCase):
    def test_names(self) -> None:
        """The stand-in's errors are each other's kinds as aiohttp's are."""
        module = stand_in()
        for child, parent in (
            ("ClientConnectorError", "ClientOSError"),
            ("ClientOSError", "ClientConnectionError"),
            ("ServerDisconnectedError", "ClientConnectionError"),
            ("ServerTimeoutError", "ClientConnectionError"),
            ("ClientResponseError", "ClientError"),
            ("ContentTypeError", "ClientResponseError"),
            ("TooManyRedirects", "ClientResponseError"),
            ("ClientPayloadError", "ClientError"),
            ("InvalidURL", "ClientError"),
        ):
            self.assertTrue(issubclass(getattr(module, child), getattr(module, parent)))
        self.assertTrue(issubclass(module.ServerTimeoutError, asyncio.TimeoutError))

    def test_values(self) -> None:
        """A connector may be made, and has no effect; a timeout has its total."""
        module = stand_in()
        module.TCPConnector(limit=0, force_close=True)
        self.assertEqual(module.ClientTimeout(total=3).total, 3)
        self.assertFalse(hasattr(module, "Ignored"))

    def test_form(self) -> None:
        """A form with a file is multipart, one without is not."""
        form = FormData({"model": "whisper"})
        self.assertEqual(encode_body(None, form)[1], "application/x-www-form-urlencoded")
        form.add_field("file", b"RIFF", filename='a"b.wav', content_type="audio/wav")
        body, kind = encode_body(None, form)
        assert body is not None and kind is not None
        boundary = kind.partition("boundary=")[2].encode()
        self.assertEqual(body.count(b"--" + boundary), 3)
        self.assertIn(b'name="model"\r\n\r\nwhisper\r\n', body)
        self.assertIn(b'name="file"; filename="a%22b.wav"\r\nContent-Type: audio/wav\r\n\r\nRIFF\r\n', body)
        plain = {"file": io.BytesIO(b"RIFF"), "n": 1}
        self.assertIn(b'name="n"\r\n\r\n1\r\n', encode_body(None, plain)[0] or b"")


class ResolveTests(SynchronousTestCase):
    def test_unix(self) -> None:
        """A unix socket's requests go to localhost, also where the benchmark glued the two."""
        base = "unix:/run/vllm.sock"
        for url in ("/v1/models", "unix:/run/vllm.sock/v1/models", "v1/models"):
            self.assertEqual(resolve(base, url), "http://localhost/v1/models")

    def test_fragment(self) -> None:
        """A fragment is not sent."""
        self.assertEqual(resolve("http://h", "/x?a=1#f", {"b": "2"}), "http://h/x?a=1&b=2")

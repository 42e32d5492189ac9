"""The benchmark's session: aiohttp's own, as it is set up here, against a real server."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import os
import ssl
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
from aiohttp import web
from twisted.trial.unittest import SynchronousTestCase
from yarl import URL

from tests.benchmarking.serving import Backend, answer
from tests.system.certificates import Pair
from vespa.benchmarking import session as session_module
from vespa.benchmarking.session import BUFFER_BYTES, BackendSession, backend_session, locate, same_origin, send_again


class SessionTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.backend = Backend()

    def seen(self, method: str, url: str, prefix: str = "", **options: Any) -> dict[str, Any]:
        """What the backend saw of one request."""

        async def scenario(session: BackendSession) -> Any:
            async with session.request(method, url, **options) as response:
                return await response.json()

        result: dict[str, Any] = self.backend.run(scenario, prefix)
        return result

    def fails(self, error: type[BaseException], method: str, url: str, **options: Any) -> Any:
        """The error of one request, whose response is read to its end."""

        async def scenario(session: BackendSession) -> None:
            async with session.request(method, url, **options) as response:
                await response.read()

        return self.assertRaises(error, self.backend.run, scenario)


class RequestTests(SessionTests):
    def test_methods(self) -> None:
        """Each method of the session is that method on the wire."""

        async def scenario(session: BackendSession) -> list[str]:
            methods = []
            for name in ("get", "post", "put", "delete", "patch", "options"):
                async with getattr(session, name)("/x") as response:
                    methods.append((await response.json())["method"])
            return methods

        self.assertEqual(self.backend.run(scenario), ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"])

    def test_head(self) -> None:
        """HEAD has a status and headers and no body."""

        async def scenario(session: BackendSession) -> tuple[int, bytes]:
            async with session.head(url="/x") as response:
                return response.status, await response.read()

        self.assertEqual(self.backend.run(scenario), (200, b""))
        self.assertEqual(self.backend.requests[0].method, "HEAD")

    def test_awaited(self) -> None:
        """A request may be awaited instead of entered."""

        async def scenario(session: BackendSession) -> Any:
            response = await session.post("/x", json={"a": 1})
            try:
                return (await response.json())["body"]
            finally:
                response.release()

        self.assertEqual(json.loads(self.backend.run(scenario)), {"a": 1})

    def test_not_sent(self) -> None:
        """A request that nobody awaits is never sent."""

        async def scenario(session: BackendSession) -> None:
            session.get("/x").close()

        self.backend.run(scenario)
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
        """The caller's headers replace the session's, which name Vespa."""
        self.assertEqual(self.seen("GET", "/x")["headers"]["User-Agent"], ["vespa-benchmark"])
        seen = self.seen("POST", "/x", data=b"abc", headers={"user-agent": "mine", "X-A": "1"})["headers"]
        self.assertEqual((seen["User-Agent"], seen["X-A"], seen["Content-Length"]), (["mine"], ["1"], ["3"]))

    def test_params(self) -> None:
        """`params` join the query that the URL has."""
        self.assertEqual(self.seen("GET", "/x?a=1", params={"b": [2, 3], "c": "d e"})["uri"], "/x?a=1&b=2&b=3&c=d+e")
        self.assertEqual(self.seen("GET", "/x", params=[("a", "1"), ("a", "2")])["uri"], "/x?a=1&a=2")
        self.assertEqual(self.seen("GET", "/x#f", params={"b": "2"})["uri"], "/x?b=2")

    def test_misspelt(self) -> None:
        """A misspelt option is an error at once."""

        async def scenario(session: BackendSession) -> None:
            self.assertRaises(TypeError, session.get, "/x", timeuot=3)
            self.assertRaises(TypeError, session.request, "GET", "/x", timeuot=3)

        self.backend.run(scenario)

    def test_prefix(self) -> None:
        """A backend under a path prefix gets every relative URL under it."""
        self.assertEqual(self.seen("GET", "/v1/models", "/api/")["uri"], "/api/v1/models")
        self.assertEqual(self.seen("GET", "v1/models", "/api")["uri"], "/api/v1/models")

        async def scenario(session: BackendSession) -> Any:
            async with session.get(self.backend.url + "/v1") as response:
                return (await response.json())["uri"]

        self.assertEqual(self.backend.run(scenario, "/api"), "/v1")

    def test_no_body_of_two(self) -> None:
        """`json` and `data` together, or what is no body at all, are errors."""
        self.fails(ValueError, "POST", "/x", json={}, data=b"")
        self.fails(TypeError, "POST", "/x", data=object())

    def test_bad_url(self) -> None:
        """A URL that cannot be one is InvalidURL."""
        for url in ("http://h:port/x", "http:///x"):
            self.fails(aiohttp.InvalidURL, "GET", url)

    def test_rest_of_the_session(self) -> None:
        """What else aiohttp's session has, this one has: WebSockets to the backend, and the end by `close`."""

        async def echo(request: web.BaseRequest) -> web.StreamResponse:
            socket = web.WebSocketResponse()
            await socket.prepare(request)
            async for message in socket:
                await socket.send_str(message.data)
            return socket

        async def scenario(session: BackendSession) -> Any:
            async with session.ws_connect("/ws") as socket:
                await socket.send_str("hello")
                said = await socket.receive_str()
            self.assertRaises(AttributeError, lambda: session.nothing_of_the_kind)
            open_until_now = not session.closed
            await session.close()
            return said, open_until_now, session.closed

        self.backend.handlers["/ws"] = echo
        self.assertEqual(self.backend.run(scenario), ("hello", True, True))


class ResponseTests(SessionTests):
    def got(self, reader: Callable[[aiohttp.ClientResponse], Awaitable[Any]]) -> Any:
        async def scenario(session: BackendSession) -> Any:
            async with session.get("/a?secret=1") as response:
                return await reader(response)

        return self.backend.run(scenario)

    def test_status(self) -> None:
        """Status, reason and `ok` are what the backend said."""
        self.backend.handlers["/a"] = answer(b"no", 404)

        async def reader(response: aiohttp.ClientResponse) -> Any:
            return response.status, response.ok, response.reason, await response.read()

        self.assertEqual(self.got(reader), (404, False, "Not Found", b"no"))

    def test_raise_for_status(self) -> None:
        """From 400 on it raises ClientResponseError, with the status and the URL; below it does nothing."""
        self.backend.handlers["/a"] = answer(b"", 503)

        async def reader(response: aiohttp.ClientResponse) -> None:
            response.raise_for_status()

        error = self.assertRaises(aiohttp.ClientResponseError, self.got, reader)
        self.assertEqual(error.status, 503)
        self.assertIn(f"{self.backend.url}/a", str(error))
        self.fails(aiohttp.ClientResponseError, "GET", "/a", raise_for_status=True)
        self.backend.handlers["/a"] = answer(b"", 399)
        self.got(reader)

    def test_headers(self) -> None:
        """Headers are found in any case; repeats are kept."""

        async def handler(request: web.BaseRequest) -> web.StreamResponse:
            response = web.Response()
            response.headers.add("X-Many", "1")
            response.headers.add("X-Many", "2")
            return response

        self.backend.handlers["/a"] = handler

        async def reader(response: aiohttp.ClientResponse) -> Any:
            found = response.headers
            return (
                found["x-MANY"],
                found.getall("X-Many"),
                found.get("none"),
                "x-many" in found,
                "none" in found,
                [value for name, value in found.items() if name == "X-Many"],
            )

        self.assertEqual(self.got(reader), ("1", ["1", "2"], None, True, False, ["1", "2"]))

    def test_json(self) -> None:
        """JSON is read whatever its content type; an empty body is None; what is no JSON is shown."""
        self.backend.handlers["/a"] = answer(b' {"a": 1} ', content_type="text/plain")

        async def reader(response: aiohttp.ClientResponse) -> Any:
            return await response.json(content_type=None), await response.json()

        self.assertEqual(self.got(reader), ({"a": 1}, {"a": 1}))
        self.backend.handlers["/a"] = answer(b"")
        self.assertEqual(self.got(reader), (None, None))
        self.backend.handlers["/a"] = answer(b"<html>\n <body>" + b"x" * 1000, content_type="text/html")
        error = self.assertRaises(ValueError, self.got, reader)
        self.assertTrue(
            str(error).startswith(f"{self.backend.url}/a answered 200 with a body other than JSON, '<html> <body>")
        )
        self.assertIn("xxx': Expecting value: line 1", str(error))
        self.assertLess(len(str(error)), 300)

    def test_content_type_wanted(self) -> None:
        """A benchmark that wants a content type has aiohttp's ContentTypeError where it is another."""
        self.backend.handlers["/a"] = answer(b"{}", content_type="text/plain")

        async def reader(response: aiohttp.ClientResponse) -> None:
            await response.json(content_type="application/json")

        self.assertRaises(aiohttp.ContentTypeError, self.got, reader)

    def test_text(self) -> None:
        """Text is decoded by the charset of its content type, UTF-8 where there is none."""

        async def reader(response: aiohttp.ClientResponse) -> Any:
            return await response.text(), response.charset, response.content_type

        self.backend.handlers["/a"] = answer("é".encode("latin-1"), content_type='text/plain; charset="latin-1"')
        self.assertEqual(self.got(reader), ("é", "latin-1", "text/plain"))
        self.backend.handlers["/a"] = answer("é".encode(), content_type="text/html")
        self.assertEqual(self.got(reader), ("é", None, "text/html"))

    def test_gzip(self) -> None:
        """A compressed body is asked for and arrives plain."""
        self.backend.handlers["/a"] = answer(gzip.compress(b"plain" * 1000), content_encoding="gzip")
        self.assertEqual(self.got(lambda response: response.read()), b"plain" * 1000)
        self.assertIn("gzip", self.backend.requests[0].headers["Accept-Encoding"])

    def test_lines(self) -> None:
        """Iterating the content gives lines with their ends, the last one also without; an image fits in a line."""
        self.backend.handlers["/a"] = answer(b"data: 1\n\n" + b"x" * 5_000_000 + b"\nlast")

        async def reader(response: aiohttp.ClientResponse) -> list[int]:
            return [len(line) async for line in response.content]

        self.assertEqual(self.got(reader), [8, 1, 5_000_001, 4])

    def test_chunks(self) -> None:
        """However the content is read, it is the same bytes."""
        body = bytes(range(256)) * 2000

        async def by_any(response: aiohttp.ClientResponse) -> bytes:
            return b"".join([chunk async for chunk in response.content.iter_any()])

        async def by_size(response: aiohttp.ClientResponse) -> bytes:
            chunks = [chunk async for chunk in response.content.iter_chunked(1000)]
            self.assertTrue(all(0 < len(chunk) <= 1000 for chunk in chunks))
            return b"".join(chunks)

        async def by_pairs(response: aiohttp.ClientResponse) -> bytes:
            return b"".join([chunk async for chunk, _ in response.content.iter_chunks()])

        async def by_read(response: aiohttp.ClientResponse) -> bytes:
            first = await response.content.readexactly(10)
            second = await response.content.read(5)
            line = await response.content.readline()
            rest = await response.content.read()
            self.assertTrue(response.content.at_eof())
            self.assertEqual(await response.content.read(3), b"")
            self.assertEqual(await response.content.readline(), b"")
            return b"".join([first, second, line, rest])

        for reader in (by_any, by_size, by_pairs, by_read):
            self.backend.handlers["/a"] = answer(body)
            self.assertEqual(self.got(reader), body)

    def test_too_short(self) -> None:
        """Wanting an exact number of bytes that never come is IncompleteReadError."""
        self.backend.handlers["/a"] = answer(b"abc")
        error = self.assertRaises(
            asyncio.IncompleteReadError, self.got, lambda response: response.content.readexactly(4)
        )
        self.assertEqual(error.partial, b"abc")

    def test_cookies(self) -> None:
        """A cookie that the backend set comes back in the next request, though the backend's host is an address."""
        self.backend.handlers["/a"] = answer(b"", set_cookie="k=v; Path=/")

        async def scenario(session: BackendSession) -> Any:
            async with session.get("/a"):
                pass
            async with session.get("/x") as response:
                return (await response.json())["headers"]["Cookie"]

        self.assertEqual(self.backend.run(scenario), ["k=v"])


class RedirectTests(SessionTests):
    def test_methods(self) -> None:
        """A redirect keeps or changes the method, and keeps or drops the body, as browsers do."""
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
            self.backend.handlers["/from"] = answer(b"moved", status, location="/to?x=1")
            seen = self.seen(method, "/from", data=b"body")
            self.assertEqual((seen["method"], seen["uri"]), (expected, "/to?x=1"), (status, method))
            self.assertEqual(seen["body"], "body" if expected == method else "")

    def test_bound(self) -> None:
        """The tenth redirect is TooManyRedirects."""
        self.backend.handlers["/loop"] = answer(b"", 302, location="/loop")
        self.fails(aiohttp.TooManyRedirects, "GET", "/loop")
        self.assertEqual(len(self.backend.requests), 10)

    def test_not_followed(self) -> None:
        """A caller may see the redirect itself; HEAD sees it by default."""
        self.backend.handlers["/from"] = answer(b"", 302, location="/to")

        async def scenario(session: BackendSession) -> list[int]:
            plain = await session.get("/from", allow_redirects=False)
            head = await session.head("/from")
            followed = await session.get("/from")
            return [plain.status, head.status, followed.status, len(followed.history)]

        self.assertEqual(self.backend.run(scenario), [302, 302, 200, 1])


class StreamTests(SessionTests):
    """Responses that arrive in parts: the backend writes while the benchmark reads."""

    def setUp(self) -> None:
        super().setUp()
        self.gone = 0

        async def handler(request: web.BaseRequest) -> web.StreamResponse:
            response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
            self.head_wanted = request.query.get("head") != "never"
            self.writes: asyncio.Queue[bytes] = asyncio.Queue()
            self.transport = request.transport
            self.asked.set()
            try:
                if self.head_wanted:
                    await response.prepare(request)
                while data := await self.writes.get():
                    await response.write(data)
            except asyncio.CancelledError:
                self.left()
                raise
            return response

        self.backend.handlers["/stream"] = handler

    def left(self) -> None:
        """The backend sees that the client has closed the connection."""
        self.gone += 1
        self.closed.set()

    def streamed(self, scenario: Callable[[BackendSession], Awaitable[Any]]) -> Any:
        async def whole(session: BackendSession) -> Any:
            self.asked, self.closed = asyncio.Event(), asyncio.Event()
            return await scenario(session)

        return self.backend.run(whole)

    async def opened(self, session: BackendSession, **options: Any) -> aiohttp.ClientResponse:
        """A response whose first line is there."""
        sending = asyncio.ensure_future(session.get("/stream", **options))
        await self.asked.wait()
        self.writes.put_nowait(b"data: 1\nda")
        return await sending

    def test_as_it_comes(self) -> None:
        """A line is read as soon as it was written, long before the end."""

        async def scenario(session: BackendSession) -> list[bytes]:
            response = await self.opened(session)
            lines = [await response.content.readline()]
            reading = asyncio.ensure_future(response.content.readline())
            await asyncio.wait([reading], timeout=0.02)
            self.assertFalse(reading.done())
            self.writes.put_nowait(b"ta: 2\n")
            lines.append(await reading)
            self.writes.put_nowait(b"")
            lines.append(await response.content.readline())
            return lines

        self.assertEqual(self.streamed(scenario), [b"data: 1\n", b"data: 2\n", b""])

    def test_left_early(self) -> None:
        """Leaving a response before its end closes the connection."""

        async def scenario(session: BackendSession) -> None:
            async with await self.opened(session):
                pass
            await self.closed.wait()

        self.streamed(scenario)
        self.assertEqual(self.gone, 1)

    def test_cancelled(self) -> None:
        """A cancelled request closes the connection, before the head has arrived too."""

        async def scenario(session: BackendSession) -> None:
            sending = asyncio.ensure_future(session.get("/stream?head=never"))
            await self.asked.wait()
            sending.cancel()
            await asyncio.wait([sending])
            self.assertTrue(sending.cancelled())
            await self.closed.wait()

        self.streamed(scenario)
        self.assertEqual(self.gone, 1)

    def test_cut(self) -> None:
        """A body that is cut short is ClientPayloadError, after all that had arrived."""

        async def scenario(session: BackendSession) -> list[bytes]:
            response = await self.opened(session)
            lines = [await response.content.readline()]
            assert self.transport is not None
            self.transport.close()
            with self.assertRaises(aiohttp.ClientPayloadError):
                await response.content.readline()
            return lines

        self.assertEqual(self.streamed(scenario), [b"data: 1\n"])

    def test_timeout(self) -> None:
        """`timeout` bounds the wait for the head, and the wait for the body, and gives up the connection."""

        async def scenario(session: BackendSession) -> None:
            for timeout in (0.05, aiohttp.ClientTimeout(total=0.05)):
                with self.assertRaises(asyncio.TimeoutError):
                    await session.get("/stream?head=never", timeout=timeout)
                await self.closed.wait()
                self.closed.clear()
            self.asked.clear()
            response = await self.opened(session, timeout=0.2)
            with self.assertRaises(asyncio.TimeoutError):
                async with response:
                    await response.read()
            await self.closed.wait()

        self.streamed(scenario)
        self.assertEqual(self.gone, 3)

    def test_no_timeout(self) -> None:
        """The session has no timeout but that of connecting; None, 0 and an empty ClientTimeout are none either."""

        async def scenario(session: BackendSession) -> list[Any]:
            timeout = session.timeout
            return [timeout.total, timeout.connect, timeout.sock_read, timeout.sock_connect]

        self.assertEqual(self.backend.run(scenario), [None, None, None, session_module.CONNECT_SECONDS])
        for timeout in (None, 0, aiohttp.ClientTimeout()):
            self.assertEqual(self.seen("GET", "/x", timeout=timeout)["uri"], "/x")

    def test_backpressure(self) -> None:
        """A body that nobody reads is not taken from the network without limit; read, it is whole."""
        size, count = 1_000_000, 60

        async def scenario(session: BackendSession) -> tuple[int, int]:
            response = await self.opened(session)
            for _ in range(count):
                self.writes.put_nowait(b"x" * size)
            self.writes.put_nowait(b"")
            left = -1
            while left != (left := self.writes.qsize()):
                await asyncio.sleep(0.2)
            return left, len(await response.read())

        left, read = self.streamed(scenario)
        self.assertEqual(read, 10 + count * size)
        self.assertGreater(left * size, count * size - 2 * BUFFER_BYTES - 20_000_000, "the system's buffers and ours")


class FailureTests(SessionTests):
    def test_no_connection(self) -> None:
        """A backend that is not there is ClientConnectorError, which names it."""
        error = self.fails(aiohttp.ClientConnectorError, "GET", "http://127.0.0.1:1/")
        self.assertIn("127.0.0.1:1", str(error))
        self.assertIsInstance(error, aiohttp.ClientError)

    def closing(self, times: int) -> None:
        """Have the backend close the connection of so many requests without a response."""

        async def handler(request: web.BaseRequest) -> web.StreamResponse:
            await request.read()
            if len(self.backend.requests) <= times:
                assert request.transport is not None
                request.transport.close()
            return web.Response(body=b"at last")

        self.backend.requests.clear()
        self.backend.handlers["/a"] = handler

    def test_no_response(self) -> None:
        """A connection that ends before the head, and another one, is ServerDisconnectedError."""
        self.closing(100)
        error = self.fails(aiohttp.ServerDisconnectedError, "POST", "/a", json={})
        self.assertIsInstance(error, aiohttp.ClientConnectionError)
        self.assertEqual(len(self.backend.requests), 2)

    def test_sent_again(self) -> None:
        """A request is sent once more where a connection has ended before the head, which llama.cpp does at random."""

        async def scenario(session: BackendSession, **options: Any) -> bytes:
            async with session.post("/a", **options) as response:
                return await response.read()

        for options in ({}, {"json": {"a": 1}}, {"data": b"raw"}, {"data": {"a": "form"}}):
            self.closing(1)
            self.assertEqual(self.backend.run(partial(scenario, **options)), b"at last")
            bodies = [request.content_length for request in self.backend.requests]
            self.assertEqual(bodies, bodies[:1] * 2)

    def test_not_sent_again(self) -> None:
        """A file, of which some may be read already, is not sent again; nor is what could not be connected."""
        self.closing(1)
        self.fails(aiohttp.ClientConnectionError, "POST", "/a", data=io.BytesIO(b"file"))
        self.assertEqual(len(self.backend.requests), 1)
        refused = aiohttp.ClientConnectorError(SimpleNamespace(), OSError(111, "refused"))  # type: ignore[arg-type]
        tries: list[Any] = []

        async def handler(request: aiohttp.ClientRequest) -> aiohttp.ClientResponse:
            tries.append(request)
            raise refused

        request: Any = SimpleNamespace(body=b"")
        self.assertRaises(aiohttp.ClientConnectorError, asyncio.run, send_again(request, handler))
        self.assertEqual(len(tries), 1)


class KeyTests(SessionTests):
    """The backend's key: VESPA_BACKEND_AUTHORIZATION."""

    def keys(self, *urls: str, authorization: str = "Bearer k", **options: Any) -> list[list[str]]:
        """What the backend had as Authorization of a request to each URL."""

        async def scenario(session: BackendSession) -> list[list[str]]:
            for url in urls:
                async with session.get(url.replace("PORT", self.backend.url.rpartition(":")[2]), **options) as response:
                    await response.read()
            return [request.headers.getall("Authorization", []) for request in self.backend.requests]

        self.backend.requests.clear()
        return self.backend.run(scenario, authorization=authorization)

    def test_sent(self) -> None:
        """Requests to the backend carry it, however the backend is named, and requests to another origin do not."""
        self.assertEqual(self.keys("/x", "http://127.0.0.1:PORT/x"), [["Bearer k"]] * 2)
        self.assertEqual(self.keys("http://localhost:PORT/x"), [[]])
        self.assertEqual(self.keys("/x", authorization=""), [[]])

    def test_own(self) -> None:
        """A key of the request's own goes in its place."""
        self.assertEqual(self.keys("/x", headers={"authorization": "mine"}), [["mine"]])
        self.assertEqual(self.keys("/x", auth=aiohttp.BasicAuth("me", "pw")), [["Basic bWU6cHc="]])

    def test_redirects(self) -> None:
        """A redirect to another origin carries neither key; one that comes back has the backend's again."""

        async def away(request: web.BaseRequest) -> web.StreamResponse:
            port = self.backend.url.rpartition(":")[2]
            host = {"/away": "localhost", "/back": "127.0.0.1"}[request.path]
            return web.Response(status=302, headers={"Location": f"http://{host}:{port}{request.query['to']}"})

        self.backend.handlers.update({"/away": away, "/back": away})
        self.assertEqual(self.keys("/away?to=/x"), [["Bearer k"], []])
        self.assertEqual(self.keys("/away?to=/x", headers={"Authorization": "mine"}), [["mine"], []])
        self.assertEqual(self.keys("/away?to=/back?to=/x"), [["Bearer k"], [], ["Bearer k"]])

    def test_websocket(self) -> None:
        """A WebSocket to the backend carries it, too, whichever scheme the benchmark writes."""

        async def scenario(session: BackendSession) -> list[str]:
            for url in ("/ws", self.backend.url + "/ws", self.backend.url.replace("http", "ws", 1) + "/ws"):
                with self.assertRaises(aiohttp.WSServerHandshakeError):
                    await session.ws_connect(url)
            return [request.headers.get("Authorization", "") for request in self.backend.requests]

        self.assertEqual(self.backend.run(scenario, authorization="Bearer k"), ["Bearer k"] * 3)

    def test_default_port(self) -> None:
        """An origin is the same one where a URL leaves out what is the default port, or writes the host in capitals."""
        for backend, url, same in (
            ("http://backend:80", "http://backend/x", True),
            ("https://backend", "https://BACKEND:443/x", True),
            ("http://backend", "https://backend/x", False),
            ("http://backend:8188", "ws://backend:8188/ws", True),
            ("https://backend", "wss://backend/ws", True),
            ("https://backend:80", "ws://backend/ws", False),
            ("http://backend:8000", "http://backend:8001/x", False),
        ):
            self.assertEqual(same_origin(URL(backend), URL(url)), same, url)


class ConnectionTests(SessionTests):
    def test_many_at_once(self) -> None:
        """A benchmark's own concurrency is what is measured: there is no bound on connections."""
        count, here = 250, asyncio.Event

        async def scenario(session: BackendSession) -> int:
            all_there, inside = here(), 0

            async def wait(request: web.BaseRequest) -> web.StreamResponse:
                nonlocal inside
                inside += 1
                if inside == count:
                    all_there.set()
                await all_there.wait()
                return web.Response()

            self.backend.handlers["/wait"] = wait
            responses = await asyncio.gather(*[session.get("/wait") for _ in range(count)])
            return sum(response.status == 200 for response in responses)

        self.assertEqual(self.backend.run(scenario), count)

    def test_idle(self) -> None:
        """A connection serves the next request, and is closed where none follows at once."""
        self.patch(session_module, "IDLE_SECONDS", 1.0)  # a busy machine may pause for longer than usual

        async def scenario(session: BackendSession) -> tuple[bool, bool]:
            for _ in range(2):
                async with session.get("/x") as response:
                    await response.read()
            first, second = [request.transport for request in self.backend.requests]
            while second is not None and not second.is_closing():
                await asyncio.sleep(0.02)
            async with session.get("/x") as response:
                await response.read()
            return first is second, self.backend.requests[2].transport is second

        self.assertEqual(self.backend.run(scenario), (True, False))

    def test_closed(self) -> None:
        """The end of the session closes its connections, those with a response under way too."""

        async def scenario() -> None:
            stream, ended = asyncio.Event(), asyncio.Event()

            async def forever(request: web.BaseRequest) -> web.StreamResponse:
                response = web.StreamResponse()
                await response.prepare(request)
                stream.set()
                try:
                    await asyncio.Event().wait()
                finally:
                    ended.set()
                return response

            self.backend.handlers["/stream"] = forever
            async with self.backend.serving() as url:
                async with backend_session(url) as session:
                    await session.get("/stream")
                    await stream.wait()
                await asyncio.wait_for(ended.wait(), 10)
                self.assertTrue(session.closed)

        asyncio.run(scenario())

    def test_no_proxies(self) -> None:
        """Proxies of the environment are not asked: what is measured is the backend."""
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            self.patch(os, "environ", {**os.environ, name: "http://127.0.0.1:1"})
        self.assertEqual(self.seen("GET", "/x")["uri"], "/x")

    def test_unix(self) -> None:
        """A unix socket's requests go there, also where the benchmark put the two together; all others go by TCP."""
        path = os.path.relpath(Path(self.mktemp()))
        elsewhere = Backend()

        async def scenario() -> list[list[str]]:
            async with self.backend.serving(path=path) as url, elsewhere.serving() as other:
                async with backend_session(url, authorization="Bearer k") as session:
                    for asked in ("/x", "x", f"{url}/x", "http://localhost/x", f"{other}/there"):
                        async with session.get(asked) as response:
                            await response.read()
                    self.backend.handlers["/away"] = answer(b"", 302, location=f"{other}/there")
                    async with session.get("/away") as response:
                        await response.read()
            return [
                [f"{request.host}{request.path} {request.headers.get('Authorization')}" for request in backend.requests]
                for backend in (self.backend, elsewhere)
            ]

        here, there = asyncio.run(scenario())
        self.assertEqual(here, ["localhost/x Bearer k"] * 4 + ["localhost/away Bearer k"])
        self.assertEqual([each.partition("/")[2] for each in there], ["there None"] * 2)

    def test_locate(self) -> None:
        """Which URLs are the backend's."""
        for backend, url, expected in (
            ("http://h", "/x", "http://h/x"),
            ("http://h/", "x?y", "http://h/x?y"),
            ("http://h/api", "?y", "http://h/api?y"),
            ("http://h", "/to/http://other", "http://h/to/http://other"),
            ("http://h", "HTTPS://other/x", "HTTPS://other/x"),
            ("http://h", "ws://other/x", "ws://other/x"),
            ("unix:/run/vllm.sock", "/v1/models", "http://localhost/v1/models"),
            ("unix:/run/vllm.sock", "unix:/run/vllm.sock/v1/models", "http://localhost/v1/models"),
        ):
            self.assertEqual(str(locate(backend, url)), expected)


class TLSTests(SessionTests):
    def asked(self, pair: Pair, ca_file: str) -> int:
        """The status that a backend with this certificate answers with."""

        async def scenario() -> int:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(pair.cert_file, pair.key_file)
            async with self.backend.serving(tls=context) as url, backend_session(url, ca_file) as session:
                async with session.get("/x") as response:
                    status: int = response.status
                    return status

        return asyncio.run(scenario())

    def setUp(self) -> None:
        super().setUp()
        self.folder = Path(self.mktemp())
        self.folder.mkdir()

    def test_roots(self) -> None:
        """The certificates of the CA file are trusted in place of the system's, which are where there is none."""
        pair = Pair(str(self.folder))
        self.assertEqual(self.asked(pair, pair.cert_file), 200)
        error = self.assertRaises(aiohttp.ClientConnectorCertificateError, self.asked, pair, "")
        self.assertIn("certificate verify failed", str(error))

    def test_names(self) -> None:
        """A trusted certificate that names nobody, or somebody else, is refused."""
        for names in ((), ("other.example",)):
            pair = Pair(str(self.folder), names=names)
            self.assertRaises(aiohttp.ClientConnectorCertificateError, self.asked, pair, pair.cert_file)

    def test_bad_file(self) -> None:
        """A CA file that is not there, or holds no certificate, is an error before anything is sent."""
        pair = Pair(str(self.folder))
        self.assertRaises(FileNotFoundError, self.asked, pair, str(self.folder / "none"))
        error = self.assertRaises(ValueError, self.asked, pair, pair.key_file)
        self.assertIn(f"{pair.key_file} holds no certificate", str(error))
        self.assertEqual(self.backend.requests, [])

"""The kinds of requests that the tests send, and what their backend does."""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random
from typing import Any

from attrs import frozen
from twisted.internet import reactor
from twisted.internet.task import deferLater

from tests.contract.reader import Response
from tests.system.peer import request
from tests.system.scripted import Asked, ScriptedBackend, head
from vespa.simulator.signing import body_envelope, query_envelope

BUSY = frozenset((429, 503))
"""What any genuine request may be told."""

PATTERN = bytes(range(251)) * 30_000


@frozen(kw_only=True)
class Ask:
    """One request. `request_idx` is 0 where it is not to be believed; `statuses` are those that are right.

    `cut`: the response may break off. `last`: nothing may follow it on its connection. `tunnel`: after a 101 this is
    said, and is to be echoed. `pause`: for so many seconds the client does not read what begins to come.
    """

    kind: str
    data: bytes
    request_idx: int
    statuses: frozenset[int] = frozenset((200,))
    method: bytes = b"GET"
    minor: int = 1
    cut: bool = False
    last: bool = False
    right: Callable[[Response], bool] = lambda answer: True
    tunnel: bytes = b""
    pause: float = 0.0

    @property
    def streamed(self) -> bool:
        """Whether its body may be on its way to the backend before all of it is there."""
        return len(self.data) > 60_000 or b"chunked" in self.data or b"Expect" in self.data or self.method == b"PUT"


class Kinds:
    """Makes requests at random. `assign` gives a new assignment of a cost."""

    def __init__(self, dice: Random, assign: Callable[[float], dict[str, Any]]) -> None:
        self._dice = dice
        self._assign = assign
        self.small = [self.get, self.head, self.envelope, self.status]
        self.any = [
            *self.small,
            self.large_envelope,
            self.chunked_envelope,
            self.upload,
            self.chunked_upload,
            self.polite_upload,
            self.events,
            self.slow,
            self.old_client,
            self.until_close,
            self.death,
            self.garbage,
            self.early_response,
            self.broken_keep_alive,
            self.slow_reader,
            self.tunnel,
            self.forged,
            self.malformed,
            self.no_http,
        ]

    def _auth(self) -> dict[str, Any]:
        return self._assign(self._dice.choice([0, 0.1, 1, 2.5, 20, 60]))

    def _query(self, path: str) -> tuple[str, int]:
        auth = self._auth()
        return path + ("&" if "?" in path else "?") + query_envelope(auth), auth["request_idx"]

    def _post(self, auth: dict[str, Any], payload: object, path: str = "/echo") -> bytes:
        return request("POST", path, body_envelope(auth, payload), "Content-Type: application/json")

    def get(self) -> Ask:
        size = self._dice.choice([0, 1, 1000, 70_000, 400_000])
        target, idx = self._query(f"/bytes?n={size}&chunked={self._dice.randrange(2)}")
        wanted = PATTERN[:size]
        return Ask(kind="get", data=request("GET", target), request_idx=idx, right=lambda answer: answer.body == wanted)

    def head(self) -> Ask:
        target, idx = self._query("/bytes?n=1000")
        return Ask(
            kind="head",
            data=request("HEAD", target),
            request_idx=idx,
            method=b"HEAD",
            right=lambda answer: answer.values(b"content-length") == [b"1000"],
        )

    def status(self) -> Ask:
        status = self._dice.choice([204, 304, 400, 404, 429, 500, 503])
        target, idx = self._query(f"/status?code={status}")
        return Ask(kind="status", data=request("GET", target), request_idx=idx, statuses=frozenset((status,)))

    def envelope(self) -> Ask:
        auth, payload = self._auth(), json.dumps({"text": "é" * self._dice.randrange(200)}).encode()
        data = self._post(auth, payload)
        return Ask(
            kind="envelope",
            data=data,
            request_idx=auth["request_idx"],
            method=b"POST",
            right=lambda answer: answer.body == payload,
        )

    def large_envelope(self) -> Ask:
        auth, payload = self._auth(), b'"' + b"large" * 60_000 + b'"'
        return Ask(
            kind="large envelope",
            data=self._post(auth, payload),
            request_idx=auth["request_idx"],
            method=b"POST",
            right=lambda answer: answer.body == payload,
        )

    def chunked_envelope(self) -> Ask:
        auth, payload = self._auth(), b'"' + b"p" * self._dice.choice([5, 90_000]) + b'"'
        data = request("POST", "/echo", None, "Transfer-Encoding: chunked")
        data += self._chunks(body_envelope(auth, payload))
        return Ask(
            kind="chunked envelope",
            data=data,
            request_idx=auth["request_idx"],
            method=b"POST",
            right=lambda answer: answer.body == payload,
        )

    def _chunks(self, body: bytes) -> bytes:
        parts = []
        while body:
            size = self._dice.choice([1, 17, 4096, 50_000])
            parts.append(b"%x\r\n%b\r\n" % (len(body[:size]), body[:size]))
            body = body[size:]
        return b"".join([*parts, b"0\r\n\r\n"])

    def upload(self, *lines: str, kind: str = "upload") -> Ask:
        body = self._dice.randbytes(self._dice.choice([0, 10, 3000, 250_000]))
        target, idx = self._query("/echo?a=%2F")
        return Ask(
            kind=kind,
            data=request("PUT", target, body, *lines),
            request_idx=idx,
            method=b"PUT",
            right=lambda answer: answer.body == body,
        )

    def polite_upload(self) -> Ask:
        return self.upload("Expect: 100-continue", kind="polite upload")

    def chunked_upload(self) -> Ask:
        body = self._dice.randbytes(self._dice.choice([0, 10, 100_000]))
        target, idx = self._query("/echo")
        data = request("POST", target, None, "Transfer-Encoding: chunked") + self._chunks(body)
        return Ask(
            kind="chunked upload",
            data=data,
            request_idx=idx,
            method=b"POST",
            right=lambda answer: answer.body == body,
        )

    def events(self) -> Ask:
        auth, number = self._auth(), self._dice.randrange(1, 12)
        return Ask(
            kind="events",
            data=self._post(auth, {"stream": True}, f"/events?n={number}"),
            request_idx=auth["request_idx"],
            method=b"POST",
            right=lambda answer: answer.body == b"data: event\n\n" * number,
        )

    def slow(self) -> Ask:
        target, idx = self._query(f"/slow?ms={self._dice.randrange(60)}")
        return Ask(kind="slow", data=request("GET", target), request_idx=idx)

    def old_client(self) -> Ask:
        target, idx = self._query(f"/bytes?n=5000&chunked={self._dice.randrange(2)}")
        data = request("GET", target).replace(b"HTTP/1.1", b"HTTP/1.0", 1)
        return Ask(
            kind="old client",
            data=data,
            request_idx=idx,
            minor=0,
            last=True,
            right=lambda answer: answer.body == PATTERN[:5000],
        )

    def unending(self) -> Ask:
        """A response that begins, and has no end: its client has to leave. It is not among `any`."""
        target, idx = self._query("/unending")
        return Ask(kind="unending", data=request("GET", target), request_idx=idx)

    def until_close(self) -> Ask:
        target, idx = self._query("/until_close?n=30000")
        return Ask(
            kind="until close",
            data=request("GET", target),
            request_idx=idx,
            right=lambda answer: answer.body == PATTERN[:30000],
        )

    def death(self) -> Ask:
        target, idx = self._query(f"/die?phase={self._dice.randrange(4)}&abort={self._dice.randrange(2)}")
        return Ask(
            kind="death",
            data=request("GET", target),
            request_idx=idx,
            statuses=frozenset((200, 502)),
            cut=True,
            last=True,
            right=lambda answer: answer.status != 200,
        )

    def garbage(self) -> Ask:
        target, idx = self._query(f"/garbage?n={self._dice.randrange(len(GARBAGE))}")
        return Ask(kind="garbage", data=request("GET", target), request_idx=idx, statuses=frozenset((502,)))

    def early_response(self) -> Ask:
        """The backend answers before the body is there, and may want no more of it."""
        target, idx = self._query(f"/early?close={self._dice.randrange(2)}")
        data = request("PUT", target, bytes(self._dice.choice([100, 300_000])))
        return Ask(
            kind="early response",
            data=data,
            request_idx=idx,
            method=b"PUT",
            statuses=frozenset((200, 413, 502)),
            last=True,
        )

    def broken_keep_alive(self) -> Ask:
        """The backend promises to keep its connection, and closes it at once or soon after."""
        path = f"/broken_keep_alive?us={self._dice.choice([0, 0, 300, 900, 2000, 3000])}"
        if self._dice.random() < 0.5:
            auth = self._auth()
            payload = {"n": self._dice.randrange(1000)}
            body = json.dumps(payload).encode()
            return Ask(
                kind="broken_keep_alive",
                data=self._post(auth, payload, path),
                request_idx=auth["request_idx"],
                method=b"POST",
                right=lambda answer: json.loads(bytes(answer.body)) == json.loads(body),
            )
        target, idx = self._query(path)
        return Ask(kind="broken_keep_alive", data=request("GET", target), request_idx=idx)

    def slow_reader(self) -> Ask:
        """More than all the buffers on the way take, for a client that does not read for a while."""
        target, idx = self._query(f"/bytes?n={len(PATTERN)}&chunked={self._dice.randrange(2)}")
        return Ask(
            kind="slow reader",
            data=request("GET", target),
            request_idx=idx,
            pause=self._dice.choice([0.01, 0.1]),
            right=lambda answer: answer.body == PATTERN,
        )

    def tunnel(self) -> Ask:
        target, idx = self._query("/tunnel")
        return Ask(
            kind="tunnel",
            data=request("GET", target, None, "Connection: Upgrade", "Upgrade: websocket"),
            request_idx=idx,
            statuses=frozenset((101,)),
            last=True,
            tunnel=self._dice.randbytes(self._dice.choice([1, 100, 90_000])),
        )

    def forged(self) -> Ask:
        change: dict[str, Any]
        auth, change = (
            self._auth(),
            self._dice.choice(
                [{"signature": "A" * 342 + "=="}, {"signature": "no"}, {"url": "http://127.0.0.1:1"}, {"endpoint": 1}]
            ),
        )
        forged = {**auth, **change}
        data = self._post(forged, {})
        if self._dice.randrange(2) and "endpoint" not in change:
            data = request("GET", f"/echo?{query_envelope(forged)}")
        return Ask(kind="forged", data=data, request_idx=0, statuses=frozenset((401, 422)))

    def malformed(self) -> Ask:
        body = self._dice.choice(
            [b"", b"{", b"[]", b'{"auth_data": 1, "payload": {}}', b"\xff" * 100_000, b"[" * 90_000]
        )
        return Ask(
            kind="malformed",
            data=request("POST", "/echo", body),
            request_idx=0,
            method=b"POST",
            statuses=frozenset((401, 413, 422)),
            last=True,
        )

    def no_http(self) -> Ask:
        data = self._dice.choice(
            [
                b"GET / HTTP/1.1\r\n\r\n",
                b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 no handshake\r\n\r\n",
                b"GET /a HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
                b"CONNECT x:1 HTTP/1.1\r\nHost: x:1\r\n\r\n",
                b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            ]
        )
        statuses = frozenset((400, 401, 405, 501))
        return Ask(kind="no http", data=data, request_idx=0, statuses=statuses, cut=True, last=True)


GARBAGE = (
    b"BOO\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
    b"HTTP/1.1 2000 OK\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n folded: x\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000,
)


def add_routes(backend: ScriptedBackend) -> None:
    """Teach the backend what the requests above ask for."""

    async def send_bytes(asked: Asked) -> None:
        await asked.whole()
        body = PATTERN[: asked.number("n")]
        if asked.request.method == b"HEAD":
            await asked.send(head(200, f"Content-Length: {len(body)}"))
        elif not asked.number("chunked"):
            await asked.answer(200, body)
        else:
            await asked.begin()
            for start in range(0, len(body), 30_000):
                await asked.piece(body[start : start + 30_000])
            await asked.end()

    async def status(asked: Asked) -> None:
        await asked.whole()
        code = asked.number("code")
        await (asked.send(head(code)) if code in (204, 304) else asked.answer(code, b"{}"))

    async def events(asked: Asked) -> None:
        await asked.whole()
        await asked.begin("Content-Type: text/event-stream")
        for number in range(asked.number("n")):
            if number % 3:
                await deferLater(reactor, 0.002)
            await asked.piece(b"data: event\n\n")
        await asked.end()

    async def slow(asked: Asked) -> None:
        await asked.whole()
        await deferLater(reactor, asked.number("ms") / 1000)
        await asked.answer(200, b"slow")

    async def unending(asked: Asked) -> None:
        await asked.whole()
        await asked.begin()
        await asked.piece(b"x")
        await asked.hang_up()

    async def until_close(asked: Asked) -> None:
        await asked.whole()
        await asked.send(head(200) + PATTERN[: asked.number("n")])
        asked.close()
        await asked.hang_up()

    async def die(asked: Asked) -> None:
        await asked.whole()
        phase = asked.number("phase")
        if phase == 1:
            await asked.send(b"HTTP/1.1 200 OK\r\nContent-Le")
        elif phase == 2:
            await asked.send(head(200, "Content-Length: 5000") + b"x" * 100)
        elif phase == 3:
            await asked.begin()
            await asked.piece(b"x" * 100)
        if asked.number("abort"):
            await deferLater(reactor, 0.002)
            asked.die()
        else:
            asked.close()
        await asked.hang_up()

    async def garbage(asked: Asked) -> None:
        await asked.whole()
        await asked.send(GARBAGE[asked.number("n")])
        await asked.hang_up()

    async def early(asked: Asked) -> None:
        if asked.number("close"):
            await asked.answer(413, b"too much", "Connection: close")
            asked.close()
            await asked.hang_up()
        else:
            await asked.answer(413, b"too much")
            await asked.whole()

    async def broken_keep_alive(asked: Asked) -> None:
        body = await asked.whole()
        # One that read on would have read the next request, which then must not be sent a second time.
        asked.connection.transport.pauseProducing()
        await asked.answer(200, body)
        if asked.number("us"):
            await deferLater(reactor, asked.number("us") / 1_000_000)
        asked.close()
        await asked.hang_up()

    async def tunnel(asked: Asked) -> None:
        await asked.whole()
        asked.connection.raw = asked.connection.write
        await asked.send(head(101, "Connection: Upgrade", "Upgrade: websocket"))
        await asked.hang_up()

    backend.scripts.update(
        {
            "/bytes": send_bytes,
            "/status": status,
            "/events": events,
            "/slow": slow,
            "/unending": unending,
            "/until_close": until_close,
            "/die": die,
            "/garbage": garbage,
            "/early": early,
            "/broken_keep_alive": broken_keep_alive,
            "/tunnel": tunnel,
        }
    )

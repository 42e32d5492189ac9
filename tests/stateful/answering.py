"""The servers that the client's proxy talks to: they read what it sends, and answer by plan."""

from __future__ import annotations

import json
from typing import Any, Final

from attrs import define
from twisted.internet.error import ConnectionLost

from tests.contract.reader import Feed, Request, Truncated, read_requests
from tests.stateful.transports import Address, MemoryTransport

PATTERN: Final = bytes(range(1, 250)) * 400
SIZES: Final = (0, 1, 100, 5000, 70_000)
STAY, CLOSE, CUT = "stay", "close", "cut"


@define(eq=False)
class Plan:
    """
    A response to send. `content` is its body; `until_close` where its end is the connection's.

    `sent` bytes of `data` are out. `ending` is what the server does behind it.
    """

    data: bytes
    head: int
    status: int
    content: bytes = b""
    until_close: bool = False
    ending: str = STAY
    sent: int = 0
    closed: bool = False
    valid: bool = True
    events: bool = False
    told: Any = None
    """What the autoscaler tells with it: an assignment, and an index."""

    @property
    def answered(self) -> bool:
        """Whether its head is out, and is one."""
        return self.valid and self.sent >= self.head

    @property
    def whole(self) -> bool:
        """Whether all of it is out and looks so."""
        return self.closed if self.until_close else self.sent == len(self.data)


class Server:
    """One connection that the proxy made."""

    def __init__(self, address: Address, transport: MemoryTransport) -> None:
        self.address = address
        self.transport = transport
        self.requests: list[Request] = []
        self.plans: list[Plan] = []
        self.plan: Plan | None = None
        self.raw = b""
        """What came in a tunnel."""
        self.tunnel = False
        self.said = b""
        self.asker: Any = None
        self._read = 0
        self._seen = 0
        self._feed = Feed(lambda source: read_requests(source, self.requests))

    def look(self) -> list[Request]:
        """Read what came; returns the requests that are new."""
        came = self.transport.came
        data = bytes(came[self._read :])
        self._read = len(came)
        if self.tunnel:
            self.raw += data
        elif data:
            self._feed.feed(data)
            error = self._feed.error
            if error is not None and not isinstance(error, Truncated):
                raise AssertionError(f"no HTTP was sent: {error}: {data[:300]!r}")
        new = self.requests[self._seen :]
        self._seen = len(self.requests)
        assert len(self.requests) <= len(self.plans) + (self.plan is None), "a request before the last was answered"
        return new

    @property
    def current(self) -> Request | None:
        """The request that was not answered."""
        return self.requests[-1] if len(self.requests) > len(self.plans) else None

    def answer(self, plan: Plan) -> None:
        self.plan = plan
        self.plans.append(plan)

    def push(self, most: int) -> None:
        """Send more of the plan, and at its end do what is planned."""
        plan = self.plan
        assert plan is not None
        data = plan.data[plan.sent : plan.sent + most]
        plan.sent += len(data)
        if plan.sent == len(plan.data) and plan.ending == STAY:
            self.plan = None
            self.tunnel = plan.status == 101 and plan.valid
        if data:
            self.transport.send(data)
        if plan.sent == len(plan.data) and plan.ending != STAY and self.transport.takes:
            self.leave(None if plan.ending == CLOSE else plan.ending)

    def leave(self, how: str | None) -> None:
        """Close the connection, or cut it (`how`)."""
        plan, self.plan = self.plan, None
        if how is None and plan is not None and self.transport.takes and plan.answered:
            plan.closed = True
        self.transport.leave(None if how is None else ConnectionLost())


def plan(status: int, content: bytes, how: int, *lines: bytes, bodiless: bool = False) -> Plan:
    """A response; `how` it is framed and what follows it."""
    framing = ("length", "length", "chunked", "close")[how % 4]
    ending = (STAY, STAY, STAY, CLOSE)[how // 4 % 4]
    minor = 1
    head = [*lines]
    if bodiless or status in (204, 304):
        content, body = b"", b""
        if status != 204:
            head.append(b"Content-Length: 77")
        framing = "none"
    elif framing == "length":
        head.append(b"Content-Length: %d" % len(content))
        body = content
    elif framing == "chunked":
        head.append(b"Transfer-Encoding: chunked")
        size = (1, 7, 4000, 30_000)[how // 16 % 4] if len(content) < 200 else 30_000
        pieces = [content[at : at + size] for at in range(0, len(content), size)]
        body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    else:
        body, ending = content, CLOSE if how // 4 % 2 else CUT
        minor = how // 8 % 2
    if how // 16 % 8 == 7:
        head.append(b"Connection: close")
    start = b"HTTP/1.%d %d Any\r\n" % (minor, status) + b"".join(line + b"\r\n" for line in head) + b"\r\n"
    return Plan(start + body, len(start), status, content, framing == "close", ending)


def worker_plan(mark: int, request: Request, a: int, how: int) -> Plan:
    """What a worker answers to a request; `mark` is the assignment's."""
    status = (200, 200, 200, 429, 503, 503, 400, 204, 304, 500, 200, 307)[a % 12]
    kind = a // 12 % 8
    if kind == 7:
        bad = (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 999 x\r\n\r\n")[
            how % 3
        ]
        return Plan(bad, len(bad), 0, valid=False)
    upgrade = bool(request.values(b"upgrade"))
    if (upgrade and kind < 5) or kind == 6:
        head = b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        return Plan(head, len(head), 101, valid=upgrade)
    size = SIZES[a // 96 % len(SIZES)]
    lines = [b"X-Worker: %d" % mark]
    content = b"w%d:" % mark + PATTERN[:size]
    events = False
    if a % 3 == 0:
        events = True
        content = b"data: " + content.replace(b"\n", b" ").replace(b"\r", b" ") + b"\n\n"
        lines.append(b"Content-Type: text/event-stream")
    elif a % 3 == 1:
        content = json.dumps({"error": {"message": f"w{mark}:" + "x" * size}}).encode()
    made = plan(status, content, how, *lines, bodiless=request.method == b"HEAD")
    made.events = events
    return made

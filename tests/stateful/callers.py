"""The client's callers: what each sends, and what it makes of the responses."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Sequence
from itertools import accumulate
from typing import Final

from attrs import field, frozen

from tests.contract.reader import Feed, Response, Truncated, read_responses
from tests.stateful.transports import MemoryTransport
from vespa.client.envelope_writer import WHOLE_MAX

HOST: Final = b"Host: localhost:8010"
OWN: Final = b"X-Own"
COST: Final = b"X-Serverless-Cost"
PRIVATE: Final = b"never-to-be-seen"
SIZES: Final = (0, 1, 900, 5000, 65537, 70_000, 140_000, 140_000)
AHEAD_MAX: Final = 65536
_PATTERN: Final = bytes(range(251))


@frozen
class Ask:
    """One request. `cost` is its own, so that the autoscaler can tell it from the others."""

    cost: int
    method: bytes
    path: bytes
    query: bytes
    head: bytes
    raw: bytes = field(repr=False)
    """The body as it is sent, framing included."""
    body: bytes = field(repr=False)
    minor: int
    wrapped: bool
    json: bool
    streams: bool
    expects: bool = False
    upgrades: bool = False
    closes: bool = False

    @property
    def data(self) -> bytes:
        return self.head + self.raw


def ask(cost: int, kind: str, size: int, number: int) -> Ask:
    """A request of a kind: words that say what it is."""
    words = kind.split()
    length = SIZES[size % len(SIZES)]
    if "small" in words:
        length = min(length, 900)
    elif "huge" in words:
        length += WHOLE_MAX
    body, is_json, valid = b"", "json" in words, False
    if is_json:
        start = b'{"stream": true, "text": "' if "stream" in words else b'{ "n":1.50,"text": "'
        body = start + b"%d:" % cost + b"j" * length + (b"" if "bad" in words else b'"}')
        valid = "bad" not in words
        body = b"\n" + body if "spaced" in words else body
    elif "body" in words:
        body = (_PATTERN[cost:] * (1 + length // 200))[:length]
    elif "none" in words:
        is_json = True
    method = words[0].encode()
    minor = 0 if "old" in words else 1
    query = (b"", b"a=%2F&a=1", b"x")[number % 3]
    lines = [OWN + b": %d" % cost, COST + b": %d" % cost, b"X-Api-Key: " + PRIVATE]
    lines.append(b"Content-Type: " + (b"application/json" if is_json else b"application/octet-stream"))
    if "accept" in words:
        lines.append(b"Accept: text/event-stream")
    if "close" in words:
        lines.append(b"Connection: close")
    elif minor == 0 and "keep" in words:
        lines.append(b"Connection: keep-alive")
    if "expect" in words:
        lines.append(b"Expect: 100-continue")
    if "upgrade" in words:
        lines += [b"Connection: Upgrade", b"Upgrade: websocket"]
    raw = body
    if "chunked" in words:
        lines.append(b"Transfer-Encoding: chunked")
        pieces = [body[at : at + 30_011] for at in range(0, len(body), 30_011)]
        raw = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    elif "body" in words or is_json:
        lines.append(b"Content-Length: %d" % len(body))
    path = b"/v1/%d" % cost
    target = path + b"?" + query if query else path
    head = b"\r\n".join([b"%b %b HTTP/1.%d" % (method, target, minor), HOST, *lines]) + b"\r\n\r\n"
    return Ask(
        cost=cost,
        method=method,
        path=path,
        query=query,
        head=head,
        raw=raw,
        body=body,
        minor=minor,
        wrapped=is_json and bool(body) and (valid or len(body) > WHOLE_MAX) and "spaced" not in words,
        json=is_json and bool(body),
        streams="accept" in words or ("stream" in words and valid and len(body) <= WHOLE_MAX),
        expects="expect" in words,
        upgrades="upgrade" in words,
        closes="close" in words or (minor == 0 and "keep" not in words),
    )


KINDS: Final = (
    "POST json",
    "POST json small",
    "POST json small stream",
    "POST json small stream",
    "POST json stream accept",
    "POST body expect accept",
    "POST json chunked",
    "POST json chunked stream",
    "POST json chunked bad",
    "POST json small bad",
    "PUT json bad",
    "POST json huge",
    "POST json huge bad",
    "POST json huge chunked",
    "POST json spaced",
    "POST json huge spaced",
    "POST none",
    "POST none chunked",
    "POST body",
    "POST body chunked",
    "PATCH body",
    "GET",
    "GET accept",
    "GET old accept",
    "DELETE accept",
    "HEAD",
    "HEAD accept",
    "DELETE",
    "GET upgrade",
    "POST json expect",
    "POST json expect chunked stream",
    "POST body expect",
    "POST body chunked expect",
    "GET old",
    "GET old keep",
    "POST json old keep",
    "POST json old small stream",
    "POST json old small stream accept",
    "POST body old",
    "POST json small close",
)


class Caller:
    """
    One connection to the proxy, with requests one after another, or all at once (`ahead`).

    `answers` are what came, as far as it came. `broken` by whom it was ended if not by the proxy.
    """

    def __init__(self, transport: MemoryTransport, asks: Sequence[Ask], ahead: bool) -> None:
        self.transport = transport
        self.asks = asks
        self.ahead = ahead
        self.answers: list[Response] = []
        self.said = b""
        """What was said in a tunnel."""
        self.left = False
        self.slow = False
        self.ended = False
        self._sent = 0
        self._tarried = 0.0
        self._read = 0
        expected = deque((each.method, each.minor) for each in asks)
        self._feed = Feed(lambda source: read_responses(source, self.answers, expected))

    # -- sending

    @property
    def done(self) -> int:
        """How many responses are whole."""
        return sum(response.complete for response in self.answers)

    @property
    def tunnel(self) -> bool:
        return bool(self.answers) and self.answers[-1].status == 101

    def _due(self) -> bytes:
        """What it may send now."""
        upto = len(self.asks) if self.ahead else min(self.done + 1, len(self.asks))
        data = b"".join(each.data for each in self.asks[:upto])
        return data[self._sent :]

    @property
    def sends(self) -> bool:
        return self.transport.takes and not self.left and bool(self._due())

    def send(self, most: int) -> None:
        due = self._due()[: max(most, 5)]  # a HEAD is to be known by its name
        if self._sent + len(due) > self._within(AHEAD_MAX - 5000) or (self.transport.full and len(due) > 300):
            self.slow = True  # far ahead of its turn, or of its own reading: it may be cut
        self._sent += len(due)
        self.transport.send(due)

    def _within(self, most: int) -> int:
        """How far it may send while the current answer is awaited."""
        return sum(len(each.data) for each in self.asks[: self.done + 1]) + most

    def say(self, data: bytes) -> None:
        self.said += data
        self.transport.send(data)

    def leave(self, reason: Exception | None) -> None:
        self.left = True
        self.transport.leave(reason)

    def tarry(self, seconds: float) -> None:
        """Time went by: it may have taken too long, for which it is cut."""
        waits = not self.transport.full and not self.within
        self._tarried = 0.0 if waits else self._tarried + seconds
        self.slow = self.slow or self._tarried > 8.0

    @property
    def within(self) -> bool:
        """Whether a request was sent in part."""
        ends = accumulate((len(each.data) for each in self.asks), initial=0)
        return self._sent not in ends

    def sent(self, at: int) -> bool:
        """Whether this request was sent whole."""
        return self._sent >= sum(len(each.data) for each in self.asks[: at + 1])

    # -- reading

    def look(self) -> None:
        """Read what came."""
        came = self.transport.came
        if len(came) > self._read:
            data = bytes(came[self._read :])
            self._read = len(came)
            self._feed.feed(data)
        if (self.transport.finished or not self.transport.open) and not self.ended:
            self.ended = True
            self._feed.end()
        error = self._feed.error
        if error is not None and not isinstance(error, Truncated):
            raise AssertionError(f"no HTTP came: {error}: {bytes(came)[-300:]!r}")

    def begun(self, at: int) -> bool:
        """Whether bytes of this request's response came, comments aside."""
        if len(self.answers) <= at:
            return False
        return not pinged(self.answers[at]) or bool(after_comments(bytes(self.answers[at].body)))

    @property
    def over(self) -> bool:
        return self.ended or (self.done >= len(self.asks) and not self.tunnel)

    def whole(self, response: Response) -> bool:
        """Whether this response looks whole to who got it."""
        if response.framing == "close":
            cut = self.transport.aborted and not self.transport.finished
            return response.complete and not (cut or self.left)
        return response.complete


def pinged(response: Response) -> bool:
    """Whether this response began with comments of ours."""
    return response.status == 200 and response.body.startswith(b": waiting for a worker, ")


def after_comments(body: bytes) -> bytes:
    """What follows the comments. Half a comment is one."""
    while body.startswith(b": waiting"):
        body = body.partition(b"\n\n")[2]
    return body


def error_event(body: bytes) -> dict[str, object]:
    """The error in an event."""
    start = b"event: error\ndata: "
    assert body.startswith(start) and body.endswith(b"\n\n"), body
    return dict(json.loads(body[len(start) :])["error"])

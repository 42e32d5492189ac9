"""WebSockets of the simulator. wsproto speaks RFC 6455, and these classes connect it to our server."""

from __future__ import annotations

from typing import Any, Final

from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Event, Message, Ping, TextMessage
from wsproto.utilities import generate_accept_token

from vespa.http.server_connection import ServerConnection
from vespa.protocol.refusal import Refusal
from vespa.protocol.request_head import RequestHead
from vespa.protocol.response_head import LENGTH

MESSAGE_MAX: Final = 16 << 20  # the longest message, in bytes or characters
TOO_BIG: Final = 1009


class WebSocket:
    """Handles a request for a WebSocket, and then its messages. A subclass says what happens with them."""

    verified = True  # any client may use it

    def __init__(self, client: ServerConnection, head: RequestHead) -> None:
        self._client = client
        self.head = head
        self._websocket = Connection(ConnectionType.SERVER)
        self._parts: list[str | bytes] = []
        self._size = 0
        self._open = False
        self._over = False

    def opened(self) -> None:
        """The handshake is done."""

    def received(self, message: str | bytes) -> None:
        """A whole message came."""

    def closed(self) -> None:
        """It has ended, in any way. Called once, if it was opened."""

    def send(self, message: str | bytes) -> None:
        """Send a whole message. Does nothing after the end."""
        if not self._over:
            self._send(Message(message))  # type: ignore[type-var]

    def receive(self, data: bytes, complete: bool) -> None:
        """The request, and after the handshake the client's data; `complete`: the client sends no more."""
        if self._over:
            return
        if self._open:
            self._websocket.receive_data(data)
            for event in self._websocket.events():
                self._take(event)
                if self._over:
                    return
            if complete:
                self._leave()
        elif complete:
            self._shake_hands()

    def _shake_hands(self) -> None:
        head, fields = self.head, {name.lower(): value for name, value in self.head.headers}
        asked = (head.method, head.upgrade.lower(), fields.get(b"sec-websocket-version"))
        key = fields.get(b"sec-websocket-key")
        if asked != (b"GET", b"websocket", b"13") or not key:
            self._refuse(426, b"only version 13 of WebSocket is supported\n")
            return
        lines = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: %b\r\n" % generate_accept_token(
            key
        )
        self._open = True
        self._client.switch_protocols(lines, self)
        self.opened()

    def _refuse(self, status: int, why: bytes) -> None:
        self._over = True
        self._client.start(status, b"Content-Type: text/plain\r\n", LENGTH, len(why))
        self._client.write(why)
        self._client.finish()

    def _take(self, event: Event) -> None:
        if isinstance(event, (TextMessage, BytesMessage)):
            self._take_part(event)
        elif isinstance(event, Ping):
            self._send(event.response())
        elif isinstance(event, CloseConnection):  # or a violation of the protocol, with its code
            self._close(event.response())

    def _take_part(self, part: TextMessage | BytesMessage) -> None:
        data = part.data if isinstance(part.data, str) else bytes(part.data)
        self._parts.append(data)
        self._size += len(data)
        if self._size > MESSAGE_MAX:
            self._close(CloseConnection(TOO_BIG, "a message that is too long"))
        elif part.message_finished:
            parts: list[Any] = self._parts  # all texts, or all bytes
            self._parts, self._size = [], 0
            self.received(data[:0].join(parts))

    def _send(self, event: Event) -> None:
        self._client.send(self._websocket.send(event))

    def _close(self, event: Event) -> None:
        self._send(event)
        self._leave()

    def _leave(self) -> None:
        self._end()
        self._client.close()

    def _end(self) -> None:
        if self._open and not self._over:
            self._over = True
            self.closed()
        self._over = True

    def hang_up(self, refusal: Refusal | None = None) -> None:
        self._end()

    def pause(self) -> None:
        """The client reads too slowly, so do not read from it either."""
        self._client.pause_reading()

    def resume(self) -> None:
        self._client.resume_reading()

    def held_bytes(self, received: int) -> int:
        return 0

    def drop_replay(self) -> None:
        """Does nothing: it holds no bytes."""


class EchoSocket(WebSocket):
    """Sends each message back."""

    def received(self, message: str | bytes) -> None:
        self.send(message)

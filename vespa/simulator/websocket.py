"""A WebSocket that says back what it is told (RFC 6455): the handshake, messages, pings and the close."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from typing import Final

from attrs import frozen

from vespa.http.server_connection import ServerConnection
from vespa.protocol.request_head import RequestHead
from vespa.protocol.response_head import LENGTH

MESSAGE_MAX: Final = 16 << 20
"""The longest message, in bytes."""

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
PROTOCOL_ERROR: Final = 1002
TOO_BIG: Final = 1009


class Broken(Exception):
    """A client that does not keep to the protocol; `code` is the close's."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(why)
        self.code = code


@frozen
class Frame:
    """One frame, its payload unmasked."""

    opcode: int
    payload: bytes
    fin: bool = True

    def written(self) -> bytes:
        """The frame as a server sends it, which does not mask."""
        size = len(self.payload)
        if size < 126:
            length = bytes([size])
        elif size < 1 << 16:
            length = b"\x7e" + size.to_bytes(2, "big")
        else:
            length = b"\x7f" + size.to_bytes(8, "big")
        return bytes([self.fin << 7 | self.opcode]) + length + self.payload


class Frames:
    """Cuts a client's bytes into frames."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that are whole by now. Raises Broken."""
        rest = self._rest
        rest += data
        while len(rest) >= 2:
            fin, opcode, size, start = bool(rest[0] & 0x80), rest[0] & 0x0F, rest[1] & 0x7F, 2
            if rest[0] & 0x70 or opcode not in (CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG):
                raise Broken(PROTOCOL_ERROR, "no such frame")
            if not rest[1] & 0x80:
                raise Broken(PROTOCOL_ERROR, "a client's frames are masked")
            if opcode >= CLOSE and (size > 125 or not fin):
                raise Broken(PROTOCOL_ERROR, "a control frame is short and whole")
            if size >= 126:
                start = 4 if size == 126 else 10
                if len(rest) < start:
                    return
                size = int.from_bytes(rest[2:start], "big")
            if size > MESSAGE_MAX:
                raise Broken(TOO_BIG, "a frame that is too long")
            end = start + 4 + size
            if len(rest) < end:
                return
            mask = bytes(rest[start : start + 4])
            payload = unmasked(bytes(rest[start + 4 : end]), mask)
            del rest[:end]
            yield Frame(opcode, payload, fin)


def unmasked(data: bytes, mask: bytes) -> bytes:
    """Bytes with a mask taken off, or put on: it is the same."""
    size = len(data)
    whole = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(data, "big") ^ int.from_bytes(whole, "big")).to_bytes(size, "big")


def accepted(key: bytes) -> bytes:
    """The response to a handshake's key."""
    return base64.b64encode(hashlib.sha1(key + _GUID).digest())


class EchoSocket:
    """Takes a request's place once it has shaken hands. With `?hello` it first tells what it was asked, as JSON."""

    verified = True
    """Whoever it is."""

    def __init__(self, client: ServerConnection, head: RequestHead) -> None:
        self._client = client
        self._head = head
        self._frames = Frames()
        self._parts: list[Frame] = []
        self._open = False
        self._over = False
        self._key = self._protocol = b""
        fields = {name.lower(): value for name, value in head.headers}
        self._refusal: tuple[int, bytes] | None = None
        if head.method != b"GET" or head.upgrade.lower() != b"websocket":
            self._refusal = 426, b"this speaks WebSocket\n"
        elif fields.get(b"sec-websocket-version") != b"13" or not fields.get(b"sec-websocket-key"):
            self._refusal = 400, b"a key and version 13 are needed\n"
        else:
            self._key = fields[b"sec-websocket-key"]
            self._protocol = fields.get(b"sec-websocket-protocol", b"").split(b",")[0].strip()

    def _refuse(self, status: int, why: bytes) -> None:
        self._over = True
        self._client.start(status, b"Content-Type: text/plain\r\n", LENGTH, len(why))
        self._client.write(why)
        self._client.finish()

    def receive(self, data: bytes, complete: bool) -> None:
        """The request, and once it is whole and hands are shaken, what the client says; `complete`: it says no more."""
        if self._over:
            return
        if self._open:
            self._hear(data)
            if complete and not self._over:
                self._leave()
        elif complete:
            if self._refusal is not None:
                self._refuse(*self._refusal)
            else:
                self._shake_hands()

    def _shake_hands(self) -> None:
        self._open = True
        lines = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: %b\r\n" % accepted(self._key)
        if self._protocol:
            lines += b"Sec-WebSocket-Protocol: %b\r\n" % self._protocol
        self._client.switch_protocols(lines, self)
        if b"hello" in self._head.target.partition(b"?")[2].split(b"&"):
            self._send(Frame(TEXT, self._hello()))

    def _hear(self, data: bytes) -> None:
        try:
            for frame in self._frames.feed(data):
                self._take(frame)
                if self._over:
                    return
        except Broken as error:
            self._send(Frame(CLOSE, error.code.to_bytes(2, "big") + str(error).encode("utf-8")))
            self._leave()

    def hang_up(self) -> None:
        """The client left."""
        self._over = True

    def pause(self) -> None:
        """The client does not read: nor is it read."""
        self._client.pause_reading()

    def resume(self) -> None:
        """Read on."""
        self._client.resume_reading()

    def held_bytes(self, received: int) -> int:
        return 0

    def drop_replay(self) -> None:
        """There is nothing to let go of."""

    def _take(self, frame: Frame) -> None:
        if frame.opcode == CLOSE:
            self._send(Frame(CLOSE, frame.payload[:2]))
            self._leave()
        elif frame.opcode == PING:
            self._send(Frame(PONG, frame.payload))
        elif frame.opcode != PONG:
            self._take_part(frame)

    def _take_part(self, frame: Frame) -> None:
        if (frame.opcode == CONTINUATION) is not bool(self._parts):
            raise Broken(PROTOCOL_ERROR, "a part of no message, or a message in another")
        self._parts.append(frame)
        if sum(len(part.payload) for part in self._parts) > MESSAGE_MAX:
            raise Broken(TOO_BIG, "a message that is too long")
        if frame.fin:
            self._send(Frame(self._parts[0].opcode, b"".join(part.payload for part in self._parts)))
            self._parts.clear()

    def _hello(self) -> bytes:
        head = self._head
        lines = [[name.decode("latin-1"), value.decode("latin-1")] for name, value in head.headers]
        return json.dumps({"target": head.target.decode("latin-1"), "headers": lines}).encode("utf-8")

    def _send(self, frame: Frame) -> None:
        self._client.send(frame.written())

    def _leave(self) -> None:
        self._over = True
        self._client.close()

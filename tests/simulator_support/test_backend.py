"""Tests of what the small backend answers for tests, besides completions, in memory."""

from __future__ import annotations

import hashlib
import json
import zlib
from typing import Any, NamedTuple

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.simulator_support.backend import ControlledBackend
from tests.simulator_support.caller import Caller, Response
from vespa.simulator.completions import COMPLETION_TEXT

MESSAGES: list[dict[str, str]] = [{"role": "user", "content": "two words"}]
BOUNDARY = "multipart/form-data; boundary=xyz"


class Part(NamedTuple):
    name: str
    filename: str | None
    content_type: str
    content: bytes


def form(*parts: Part) -> bytes:
    """A form as a client writes it."""
    pieces = []
    for part in parts:
        name = f'--xyz\r\nContent-Disposition: form-data; name="{part.name}"'
        name += "" if part.filename is None else f'; filename="{part.filename}"\r\nContent-Type: {part.content_type}'
        pieces.append(name.encode() + b"\r\n\r\n" + part.content + b"\r\n")
    return b"".join(pieces) + b"--xyz--\r\n"


class BackendCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.backend = ControlledBackend(self.clock, tokens_per_second=10.0)
        self.caller = Caller(self, self.backend.resource())

    def start(self, path: str, body: bytes, seconds: float, **headers: str) -> Any:
        started = self.caller.start("POST", path, body, **headers)
        self.caller.stub.flush()
        for _ in range(int(seconds / 0.1)):
            self.clock.advance(0.1)
            self.caller.stub.flush()
        return started

    def ask(self, path: str, asked: object, seconds: float = 20.0, **headers: str) -> Response:
        body = asked if isinstance(asked, bytes) else json.dumps(asked).encode()
        return self.caller.finish(self.start(path, body, seconds, **headers))


class MessageTests(BackendCase):
    def test_whole(self) -> None:
        """A message has Anthropic's form, and a limit that must be given cuts it."""
        asked = {"model": "any", "messages": MESSAGES, "max_tokens": 2}
        message = self.ask("/v1/messages", asked).json
        self.assertEqual(message["content"], [{"type": "text", "text": "Good morning."}])
        self.assertEqual((message["stop_reason"], message["usage"]["input_tokens"]), ("max_tokens", 2))
        del asked["max_tokens"]
        refused = self.ask("/v1/messages", asked)
        self.assertEqual((refused.status, refused.json["type"]), (400, "error"))

    def test_stream(self) -> None:
        """A stream names each event, and its pieces make the whole."""
        received = self.ask("/v1/messages", {"messages": MESSAGES, "max_tokens": 1000, "stream": True})
        told = [event.split("\n", 1) for event in received.body.decode().split("\n\n")[:-1]]
        events = [json.loads(data.removeprefix("data: ")) for _, data in told]
        self.assertEqual([name for name, _ in told], ["event: " + event["type"] for event in events])
        self.assertEqual(
            "".join(e["delta"]["text"] for e in events if e["type"] == "content_block_delta"), COMPLETION_TEXT
        )
        self.assertEqual((events[0]["type"], events[-1]["type"]), ("message_start", "message_stop"))


class UploadTests(BackendCase):
    def test_upload(self) -> None:
        """A transcription tells what arrived: fields in order with repeats, and of a file its size and sum."""
        sound = bytes(range(256)) * 100 + b"\r\n--xy"
        parts = (
            Part("model", None, "", b"w"),
            Part("x[]", None, "", b"1"),
            Part("x[]", None, "", b"2"),
            Part("file", "a b.wav", "audio/wav", sound),
        )
        told = self.ask("/v1/audio/transcriptions", form(*parts), Content_Type=BOUNDARY).json
        self.assertEqual(told["fields"], [["model", "w"], ["x[]", "1"], ["x[]", "2"]])
        (file,) = told["files"]
        self.assertEqual((file["filename"], file["content_type"], file["size"]), ("a b.wav", "audio/wav", len(sound)))
        self.assertEqual(file["sha256"], hashlib.sha256(sound).hexdigest())

    def test_refused(self) -> None:
        """What is no form, was cut, or has no file in it, is 400."""
        whole = form(Part("file", "a.wav", "audio/wav", bytes(100)))
        bodies = [
            (BOUNDARY, body) for body in (b"x", whole[:-5], whole[: len(whole) // 2], form(Part("a", None, "", b"")))
        ]
        for content_type, body in (("text/plain", whole), *bodies):
            self.assertEqual(self.ask("/v1/audio/transcriptions", body, Content_Type=content_type).status, 400)


class OnDemandTests(BackendCase):
    def test_echo(self) -> None:
        """An echo tells the method, the raw target, the headers with their repeats, and the body."""
        said = self.caller.ask("PATCH", "/echo/a%2Fb;c/..?q=%20&q", b"body", X_Test="1").json
        self.assertEqual((said["method"], said["target"]), ("PATCH", "/echo/a%2Fb;c/..?q=%20&q"))
        self.assertEqual((said["length"], said["crc32"], said["body"]), (4, zlib.crc32(b"body"), "body"))
        self.assertIn(["X-Test", "1"], said["headers"])

    def test_upload(self) -> None:
        """An upload is counted and summed."""
        body = bytes(200_000)
        self.assertEqual(self.caller.ask("PUT", "/upload", body).json, {"length": 200_000, "crc32": zlib.crc32(body)})

    def test_sleep(self) -> None:
        """A sleep answers after the time asked for."""
        sleeping = self.caller.start("GET", "/sleep?seconds=3")
        self.caller.stub.flush()
        self.assertEqual(self.backend.stats.in_progress, 1)
        self.clock.advance(3)
        self.assertEqual(self.caller.finish(sleeping).json, {"slept": 3.0})
        self.assertEqual((self.backend.stats.in_progress, self.backend.stats.finished), (0, 1))
        self.assertEqual(self.caller.ask("GET", "/sleep?seconds=x").status, 400)

    def test_status(self) -> None:
        """Any status is answered on demand, and an unknown path is 404."""
        self.assertEqual(self.caller.ask("GET", "/status/418").status, 418)
        self.assertEqual(self.caller.ask("GET", "/nowhere").status, 404)

"""Tests of what the small backend answers besides completions, and of its faults, in memory."""

from __future__ import annotations

import base64
import hashlib
import json
import struct
import zlib
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.simulator.caller import Caller, Response
from vespa.simulator.backend import LAST_WORDS, SimulatedBackend
from vespa.simulator.completions import COMPLETION_TEXT
from vespa.simulator.multipart import NoForm, Part, read_form

MESSAGES: list[dict[str, str]] = [{"role": "user", "content": "two words"}]
CHAT = "/v1/chat/completions"
BOUNDARY = "multipart/form-data; boundary=xyz"


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
        self.backend = SimulatedBackend(self.clock, tokens_per_second=10.0)
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


class EmbeddingTests(BackendCase):
    def test_texts(self) -> None:
        """Each text has numbers of its own, always the same, in either form."""
        one, two = self.ask("/v1/embeddings", {"input": ["a", "b"]}).json["data"]
        self.assertNotEqual(one["embedding"], two["embedding"])
        (same,) = self.ask("/v1/embeddings", {"input": "a", "encoding_format": "base64"}).json["data"]
        packed = base64.b64decode(same["embedding"])
        self.assertEqual(list(struct.unpack(f"<{len(packed) // 4}f", packed)), one["embedding"])
        self.assertEqual(self.ask("/v1/embeddings", {"input": 5}).status, 400)


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
        """What is no form, or has no file in it, is 400."""
        for content_type, body in (("text/plain", b"x"), (BOUNDARY, b"x"), (BOUNDARY, form(Part("a", None, "", b"")))):
            self.assertEqual(self.ask("/v1/audio/transcriptions", body, Content_Type=content_type).status, 400)

    @given(st.lists(st.binary(max_size=50).filter(lambda content: b"--xyz" not in content), max_size=4))
    def test_form(self, contents: list[bytes]) -> None:
        """The parts of a form are its bytes, whatever they are; a form that was cut is none."""
        parts = [Part(f"n{place}", "f", "a/b", content) for place, content in enumerate(contents)]
        body = form(*parts)
        self.assertEqual(read_form(body, BOUNDARY), parts)
        for end in (len(body) - 3, len(body) // 2):
            self.assertRaises(NoForm, read_form, body[:end], BOUNDARY)


class FaultTests(BackendCase):
    def test_refuses(self) -> None:
        """A path is refused for so many calls, and then served."""
        self.backend.faults.plan("refuse", 2, status=429, paths={CHAT})
        asked = {"messages": MESSAGES, "max_tokens": 1}
        self.assertEqual([self.ask(CHAT, asked).status for _ in range(3)], [429, 429, 200])

    def test_dies(self) -> None:
        """A response that dies breaks off after its first words, and the next is whole."""
        self.backend.faults.plan("die", 2)
        for stream in (True, False):
            dying = self.start(CHAT, json.dumps({"messages": MESSAGES, "stream": stream}).encode(), 20.0)
            response = self.successResultOf(dying)
            body = self.caller.stub.content(response)
            self.caller.stub.flush()
            self.failureResultOf(body)
        self.assertEqual(self.backend.stats.pieces, LAST_WORDS)
        self.assertEqual(self.ask(CHAT, {"messages": MESSAGES, "max_tokens": 1}).status, 200)

    def test_trouble(self) -> None:
        """What is in trouble fails so many times under a key, and then tells what came."""
        path = "/trouble/busy?status=503&times=2&retry_after=3"
        self.assertEqual([self.ask(path, b"body").status for _ in range(2)], [503, 503])
        self.assertEqual(self.ask(path, b"body").json, {"calls": 3, "length": 4, "crc32": zlib.crc32(b"body")})
        self.assertEqual(self.ask(path + "&key=other", b"").status, 503)
        self.assertEqual(self.ask("/trouble/nowhere", b"").status, 404)

    def test_stalls(self) -> None:
        """A stall lasts as long as it was asked to, once."""
        stalling = self.start("/trouble/stall?seconds=5", b"", 4.9)
        self.assertNoResult(stalling)
        self.clock.advance(0.2)
        self.assertEqual(self.caller.finish(stalling).json["calls"], 1)
        self.assertEqual(self.ask("/trouble/stall?seconds=5", b"", 0.0).json["calls"], 2)

    def test_streams(self) -> None:
        """A stream dies in the middle, once."""
        self.start("/trouble/stream?events=20", b"", 5.0)
        self.assertEqual(self.backend.stats.pieces, LAST_WORDS)
        self.assertTrue(self.ask("/trouble/stream?events=20", b"").body.endswith(b"data: 19\n\ndata: [DONE]\n\n"))

    def test_drops(self) -> None:
        """A dropped call has no response, and the next has."""
        self.failureResultOf(self.start("/trouble/drop", b"", 0.1))
        self.assertEqual(self.ask("/trouble/drop", b"", 0.0).json["calls"], 2)

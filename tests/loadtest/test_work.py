"""From a benchmark module to a request, and the mistakes in between."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

import benchmarks.comfyui
import benchmarks.measure
import benchmarks.openai_chat
import benchmarks.tgi
from vespa.loadtest.work import BadWork, cost_text, find_test_request, prepare

CHAT: dict[str, Any] = {"messages": [{"role": "user", "content": "é"}], "max_tokens": 5}
CHATS = "/v1/chat/completions"


def payload(given: object, stream: bool | None = None) -> Any:
    return json.loads(prepare(given, stream).body)


class PrepareTests(SynchronousTestCase):
    def test_openai(self) -> None:
        """By default a stream is requested, with its usage."""
        work = prepare((CHATS, CHAT, 5), None)
        self.assertEqual((work.path, work.cost, work.streamed), (CHATS, 5.0, True))
        usage = {"include_usage": True}
        self.assertEqual(json.loads(work.body), {**CHAT, "stream": True, "stream_options": usage})
        self.assertEqual(payload(("/v1/completions", {"prompt": "a"}, 1))["stream_options"], usage)
        self.assertFalse(prepare((CHATS, CHAT, 5), False).streamed)
        self.assertEqual(payload((CHATS, CHAT, 5), False), CHAT)

    def test_own_word(self) -> None:
        """The payload's own `stream` applies unless the command line sets it."""
        self.assertEqual(payload((CHATS, {**CHAT, "stream": False}, 5)), {**CHAT, "stream": False})
        self.assertTrue(prepare((CHATS, {**CHAT, "stream": True}, 5), None).streamed)
        self.assertTrue(payload((CHATS, {**CHAT, "stream": False}, 5), True)["stream"])
        asked = {**CHAT, "stream": True, "stream_options": {}}
        self.assertEqual(payload((CHATS, asked, 5), True), asked)
        self.assertEqual(payload((CHATS, asked, 5), False), CHAT)

    def test_anthropic(self) -> None:
        """Messages elsewhere are streamed too, without an option that is OpenAI's alone."""
        self.assertEqual(payload(("/v1/messages", CHAT, 5)), {**CHAT, "stream": True})

    def test_tgi(self) -> None:
        """TGI has a path of its own for streams."""
        given = ("/generate", {"inputs": "a"}, 5)
        self.assertEqual(
            [prepare(given, stream).path for stream in (None, True, False)],
            ["/generate", "/generate_stream", "/generate"],
        )
        self.assertTrue(prepare(("/generate_stream?a=b", {"inputs": "a"}, 5), None).streamed)

    def test_no_way(self) -> None:
        """A stream cannot be asked for where there is no known way."""
        with self.assertRaisesRegex(BadWork, "--stream"):
            prepare(("/generate/sync", {"input": {}}, 5), True)
        self.assertFalse(prepare(("/generate/sync", {"input": {}}, 5), None).streamed)
        self.assertFalse(prepare(("/generate/sync", [1], 5), None).streamed)

    def test_cost(self) -> None:
        """A cost keeps its digits, and is written without an exponent."""
        for cost, text in ((500.0, "500"), (1234567.0, "1234567"), (0.25, "0.25"), (1e-7, "0.0000001"), (0.0, "0")):
            self.assertEqual(cost_text(cost), text)

    def test_untouched(self) -> None:
        """The module's own payload is not changed."""
        given = {**CHAT}
        prepare((CHATS, given, 5), True)
        self.assertEqual(given, CHAT)

    def test_mistakes(self) -> None:
        """A payload that cannot be sent is refused with the reason."""
        for given, said in (
            (None, "NoneType"),
            ((CHATS, CHAT), "tuple"),
            (("v1", CHAT, 1), "path"),
            (("/a b", CHAT, 1), "path"),
            (("/a\r\nX: y", CHAT, 1), "path"),
            ((CHATS, CHAT, "5"), "cost"),
            ((CHATS, CHAT, -1), "cost"),
            ((CHATS, CHAT, float("nan")), "cost"),
            ((CHATS, CHAT, True), "cost"),
            ((CHATS, {"messages": {1, 2}}, 1), "JSON"),
        ):
            with self.assertRaisesRegex(BadWork, said):
                prepare(given, None)


class SourceTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.patch(sys, "path", [*sys.path])
        self.patch(os, "environ", {"BENCHMARK_SEED": "1"})
        benchmarks.measure.generator.cache_clear()
        self.addCleanup(benchmarks.measure.generator.cache_clear)
        self.folder = Path(self.mktemp())
        self.folder.mkdir()

    def file(self, text: str, name: str = "bench.py") -> str:
        path = self.folder / name
        path.write_text(text)
        return str(path)

    def test_built_in(self) -> None:
        """Each built-in benchmark gives requests; openai_chat's are streamed."""
        for name in ("benchmarks.openai_chat", "benchmarks.tgi:benchmark", "benchmarks.comfyui"):
            work = prepare(find_test_request(name)(), None)
            self.assertEqual(work.streamed, name == "benchmarks.openai_chat")
            self.assertGreater(work.cost, 0)

    def test_prompts_differ(self) -> None:
        """No request is like the one before, which a backend's cache would answer."""
        for module in (benchmarks.openai_chat, benchmarks.tgi, benchmarks.comfyui):
            self.assertNotEqual(prepare(module.get_test_request(), None), prepare(module.get_test_request(), None))

    def test_file(self) -> None:
        """A file is imported, with its siblings, however its function is called."""
        self.file("PATH = '/go'", "sibling.py")
        path = self.file("import sibling\ndef get_test_request():\n    return sibling.PATH, {}, 1\n")
        self.addCleanup(sys.modules.pop, "sibling", None)
        for spec in (path, path + ":benchmark"):
            self.assertEqual(prepare(find_test_request(spec)(), None).path, "/go")

    def test_mistakes(self) -> None:
        """A module that is missing, broken, or without the function is named with what is wrong."""
        for spec, said in (
            ("no.such.module", "cannot import no.such.module: ModuleNotFoundError"),
            (str(self.folder / "missing.py"), "there is no file .*missing.py"),
            (self.file("1 / 0"), "ZeroDivisionError"),
            (self.file("raise SystemExit(5)", "exits.py"), "SystemExit"),
            (self.file("async def benchmark(url, session): ...", "without.py"), r"has no get_test_request\(\)"),
        ):
            with self.assertRaisesRegex(BadWork, said):
                find_test_request(spec)

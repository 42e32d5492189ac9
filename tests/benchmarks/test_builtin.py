"""What the built-in benchmarks send, what they count, and what they refuse to call a result."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from aiohttp import web
from twisted.trial.unittest import SynchronousTestCase

from benchmarks import climb, comfyui, measure, openai_chat, streams, tgi
from tests.benchmarking.serving import Backend
from vespa.benchmarking import contract

Answer = Callable[[Any], Any]


class AnsweringBackend(Backend):
    """Answers each path by a function of the JSON it was sent; keeps what it was sent."""

    def __init__(self, answers: dict[str, Answer]) -> None:
        super().__init__()
        self.answers = answers
        self.sent: list[tuple[str, Any]] = []

    async def echo(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        sent = json.loads(body) if body else None
        self.sent.append((request.path, sent))
        response = self.answers[request.path](sent) if request.path in self.answers else 404
        if isinstance(response, int):
            return web.Response(status=response, body=b"a page that says why")
        return web.Response(body=response if isinstance(response, bytes) else json.dumps(response).encode())


class BenchmarkCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.environment = {"BENCHMARK_SEED": "1", "BENCHMARK_CONCURRENCY": "2", "BENCHMARK_RUNS": "3"}
        self.patch(os, "environ", self.environment)
        self.printed: list[str] = []
        self.patch(sys, "stdout", SimpleNamespace(write=self.printed.append, flush=lambda: None))
        self.seconds = 0.0
        self.patch(measure, "time", SimpleNamespace(perf_counter=self.now))
        self.patch(climb, "cpu_seconds", lambda: 0.0)  # all that happens in memory takes this process's time
        measure.generator.cache_clear()
        self.addCleanup(measure.generator.cache_clear)

    def now(self) -> float:
        """A clock that moves by two seconds whenever it is read: each round takes that long."""
        self.seconds += 2.0
        return self.seconds

    def run_scenario(self, scenario: Coroutine[Any, Any, Any]) -> Any:
        loop = asyncio.new_event_loop()
        try:
            return loop.run_until_complete(scenario)
        finally:
            loop.close()

    def measured(
        self, benchmark: Callable[[str, Any], Coroutine[Any, Any, float]], answers: dict[str, Answer]
    ) -> tuple[float, list[tuple[str, Any]]]:
        """The result, and what the backend was sent for it."""
        backend = AnsweringBackend(answers)
        return backend.run(lambda session: benchmark(backend.url, session)), backend.sent

    def fails(self, benchmark: Callable[[str, Any], Coroutine[Any, Any, float]], answers: dict[str, Answer]) -> str:
        return str(self.assertRaises((RuntimeError, ValueError), self.measured, benchmark, answers))


def fixed(response: Any) -> Answer:
    return lambda body: response


def usage(completion: int, prompt: int = 1000) -> dict[str, Any]:
    return {"usage": {"completion_tokens": completion, "total_tokens": completion + prompt}}


def stream(*events: object) -> bytes:
    return "".join(f"data: {json.dumps(event)}\n\n" for event in events).encode() + b"data: [DONE]\n\n"


class OpenAITests(BenchmarkCase):
    """What is sent and counted; test_climb has how the requests are made a figure."""

    def setUp(self) -> None:
        super().setUp()
        self.environment["MODEL_NAME"] = "tiny"
        for name in ("SHORTEST", "WARMUP"):
            self.patch(climb, name, 0.0)

    def counted(self, response: Answer) -> tuple[float, list[tuple[str, Any]]]:
        """The tokens of one request, and what the backend was sent for it."""
        backend = AnsweringBackend({os.environ.get("BENCHMARK_ROUTE", "/v1/chat/completions"): response})

        async def scenario(session: Any) -> float:
            chat = openai_chat.Chat(session, "tiny", "completion")
            request = chat.make()
            await chat.send(request)
            return request.tokens

        return backend.run(scenario), backend.sent

    def test_requests(self) -> None:
        """The requests are those of a client, no two with the same prompt."""
        result, sent = self.measured(openai_chat.benchmark, {"/v1/chat/completions": lambda body: stream(usage(30))})
        self.assertGreater(result, 0.0)
        self.assertGreaterEqual(len(sent), 1 + 3 * 2)
        for path, body in sent:
            self.assertEqual(path, "/v1/chat/completions")
            self.assertEqual((body["model"], body["max_tokens"], body["stream"]), ("tiny", 500, True))
        prompts = [body["messages"][0]["content"] for _, body in sent]
        self.assertEqual(len(set(prompts)), len(prompts), "the same prompt twice is a backend's cache measured")

    def test_first_model(self) -> None:
        """Without MODEL_NAME the first model of the backend is asked."""
        del self.environment["MODEL_NAME"]
        answers: dict[str, Answer] = {
            "/v1/models": lambda body: {"data": [{"id": "first"}, {"id": "second"}]},
            "/v1/chat/completions": lambda body: stream(usage(1)),
        }
        _, sent = self.measured(openai_chat.benchmark, answers)
        self.assertEqual({body["model"] for _, body in sent[1:]}, {"first"})

    def test_pieces(self) -> None:
        """The pieces of a stream are counted where it does not tell its tokens, thoughts too, and nothing else."""
        deltas = [{"role": "assistant"}, {"reasoning_content": "hm"}, {"content": "a"}, {"content": "b"}, {}]
        events = [{"choices": [{"delta": delta}]} for delta in deltas]
        self.assertEqual(self.counted(lambda body: stream(*events, {"choices": []}))[0], 3.0)

    def test_stream_tells(self) -> None:
        """A stream's own count is better than the number of its pieces."""
        self.assertEqual(self.counted(lambda body: stream({"choices": [{"text": "ab"}]}, usage(9)))[0], 9.0)

    def test_route(self) -> None:
        """The route may be completions, which takes a prompt."""
        self.environment.update(BENCHMARK_ROUTE="/v1/completions", BENCHMARK_MAX_TOKENS="7")
        _, [(path, body)] = self.counted(lambda body: stream(usage(1)))
        self.assertEqual((path, body["max_tokens"]), ("/v1/completions", 7))
        self.assertIn("prompt", body)

    def test_failures(self) -> None:
        """A backend that refuses, or says nothing, is an error: never a number."""
        error = self.fails(openai_chat.benchmark, {"/v1/chat/completions": lambda body: 503})
        self.assertIn("503: a page that says why", error)
        for silent in (b"{}", b"<html>"):
            self.assertIn("no tokens", self.fails(openai_chat.benchmark, {"/v1/chat/completions": fixed(silent)}))

    def test_test_request(self) -> None:
        """The test request's cost is its token limit."""
        path, payload, cost = openai_chat.get_test_request()
        self.assertEqual((path, payload["max_tokens"], cost), ("/v1/chat/completions", 500, 500.0))


class EventsTests(SynchronousTestCase):
    def test_cuts(self) -> None:
        """However a stream is cut, it has the same pieces and the same end."""
        texts = [{"choices": [{"delta": {"content": text}}]} for text in ("a", 'an "error" of mine', "", "c")]
        whole = stream({"choices": [{"delta": {"role": "assistant"}}]}, *texts, {"choices": []}, usage(4))
        for size in (1, 2, 7, 50, 1000):
            events = streams.Events("/x", openai_chat.has_text)
            count = sum(events.feed(whole[at : at + size]) for at in range(0, len(whole), size))
            self.assertEqual(count - events.without_text(), 4, size)
            self.assertEqual(events.last()[0], usage(4))

    def test_long(self) -> None:
        """A long stream is held only at its end."""
        events = streams.Events("/x", openai_chat.has_text)
        count = sum(events.feed(stream({"choices": [{"text": "a" * 100}]})[:-14]) for _ in range(10_000))
        self.assertEqual(count, 10_000)
        self.assertLess(events.held_bytes, 10_000)

    def test_errors(self) -> None:
        """An event that tells of an error is one; the older form of llama.cpp's too."""
        for said in (b'data: {"error": {"message": "died"}}\n\n', b'error: {"code": 500, "message": "died"}\n\n'):
            events = streams.Events("/x", openai_chat.has_text)
            self.assertIn("died", str(self.assertRaises(streams.Refused, events.feed, said)))


class TGITests(BenchmarkCase):
    def test_details(self) -> None:
        """The stream's details tell the tokens."""
        for name in ("SHORTEST", "WARMUP"):
            self.patch(climb, name, 0.0)
        response: Answer = lambda body: stream({"token": {"text": "x"}, "details": {"generated_tokens": 8}})  # noqa: E731
        result, sent = self.measured(tgi.benchmark, {"/generate_stream": response})
        self.assertGreater(result, 0.0)
        self.assertGreaterEqual(len(sent), 7)
        self.assertEqual(sent[0][1]["parameters"]["max_new_tokens"], 256)
        self.assertTrue(sent[0][1]["parameters"]["details"])

    def test_failures(self) -> None:
        """An error, and a response without a token, are errors."""
        self.assertIn("424", self.fails(tgi.benchmark, {"/generate_stream": lambda body: 424}))
        self.assertIn(
            "no tokens", self.fails(tgi.benchmark, {"/generate_stream": lambda body: {"generated_text": "x"}})
        )

    def test_whole(self) -> None:
        """Whole responses tell their tokens, or are an error."""
        for response, expected in (
            ({"details": {"generated_tokens": 8}}, 8.0),
            ([{"details": {"generated_tokens": 3}}], 3.0),
        ):
            self.assertEqual(self.whole(response), expected)
        self.assertRaises(RuntimeError, self.whole, {"generated_text": "x"})

    def whole(self, response: Any) -> float:
        async def scenario(session: Any) -> float:
            source = tgi.Generate(session)
            source.streams = False
            request = source.make()
            await source.send(request)
            return request.tokens

        return AnsweringBackend({"/generate": lambda _: response}).run(scenario)

    def test_test_request(self) -> None:
        """The test request's cost is its token limit."""
        self.environment["BENCHMARK_MAX_TOKENS"] = "64"
        self.assertEqual(tgi.get_test_request()[2], 64.0)


class ComfyUITests(BenchmarkCase):
    def setUp(self) -> None:
        super().setUp()
        del self.environment["BENCHMARK_CONCURRENCY"]

    def test_units(self) -> None:
        """Each request is 100 units, one at a time, no two alike."""
        result, sent = self.measured(comfyui.benchmark, {"/generate/sync": lambda body: {"status": "completed"}})
        self.assertEqual(result, 100 / 2.0)
        self.assertEqual(len(sent), 4)
        self.assertEqual(len({body["input"]["request_id"] for _, body in sent}), 4)
        self.assertEqual(len({body["input"]["modifications"]["seed"] for _, body in sent}), 4)

    def test_size(self) -> None:
        """The image is as large, and takes as many steps, as the environment says."""
        self.environment.update(BENCHMARK_TEST_WIDTH="1024", BENCHMARK_TEST_HEIGHT="768", BENCHMARK_TEST_STEPS="4")
        asked = comfyui.get_test_request()[1]["input"]
        self.assertEqual(asked["modifier"], "Text2Image")
        self.assertEqual([asked["modifications"][name] for name in ("width", "height", "steps")], [1024, 768, 4])

    def test_workflow(self) -> None:
        """A workflow of the user's is sent as it is; one that a cache would answer is remarked on."""
        path = Path(self.mktemp())
        path.write_text('{"3": {"inputs": {"seed": 5}}}')
        for name in ("BENCHMARK_JSON_PATH", "VESPA_COMFYUI_BENCHMARK_FILE"):
            self.environment[name] = str(path)
            _, sent = self.measured(comfyui.benchmark, {"/generate/sync": lambda body: {}})
            self.assertEqual(sent[0][1]["input"]["workflow_json"], {"3": {"inputs": {"seed": 5}}})
            self.assertNotIn("modifier", sent[0][1]["input"])
        self.assertIn("__RANDOM_INT__", "".join(self.printed))
        path.write_text('{"3": {"inputs": {"seed": "__RANDOM_INT__"}}}')
        self.printed.clear()
        self.measured(comfyui.benchmark, {"/generate/sync": lambda body: {}})
        self.assertNotIn("__RANDOM_INT__", "".join(self.printed))

    def test_bad_workflow(self) -> None:
        """A named workflow that is not there, or is no JSON, is an error: another would measure something else."""
        self.environment["VESPA_COMFYUI_BENCHMARK_FILE"] = self.mktemp()
        self.assertRaises(FileNotFoundError, self.measured, comfyui.benchmark, {})
        Path(self.environment["VESPA_COMFYUI_BENCHMARK_FILE"]).write_text("{")
        self.fails(comfyui.benchmark, {})

    def test_failures(self) -> None:
        """A job that failed is an error, though the wrapper answers it with 200."""
        self.assertIn("500", self.fails(comfyui.benchmark, {"/generate/sync": lambda body: 500}))
        for status in ("failed", "timeout", "cancelled"):
            response = {"status": status, "message": "no such checkpoint"}
            error = self.fails(comfyui.benchmark, {"/generate/sync": fixed(response)})
            self.assertIn("no such checkpoint", error)


class MeasureTests(BenchmarkCase):
    def best(self, *rounds: list[float | Exception], unit: str = "tokens") -> float:
        left = [outcome for each in rounds for outcome in each]

        async def send() -> float:
            outcome = left.pop(0)
            if isinstance(outcome, Exception):
                raise outcome
            return outcome

        scenario: Awaitable[float] = measure.best_of(len(rounds), len(rounds[0]), send, unit)
        result: float = self.run_scenario(scenario)  # type: ignore[arg-type]
        return result

    def test_best(self) -> None:
        """The result is the best round's, and each round is told."""
        self.assertEqual(self.best([1, 1], [4, 6], [2, 2]), 10 / 2.0)
        self.assertIn("run 2 of 3: 2 of 2 requests, 10 tokens in 2.00 s, 5.0 tokens/s", "".join(self.printed))

    def test_reports(self) -> None:
        """Each round is reported as a level, for a table."""
        said: list[dict[str, Any]] = []
        contract.listen(said.append)
        self.addCleanup(contract.listen, None)
        self.best([1, 1], [8, RuntimeError("busy")])
        rounds = [contract.Level.checked(each["level"]) for each in said if "level" in each]
        self.assertEqual([(each.throughput, each.ended, each.failed) for each in rounds], [(1.0, 2, 0), (4.0, 1, 1)])
        self.assertEqual([each["progress"] for each in said if "progress" in each], [0.5, 1.0])

    def test_some_fail(self) -> None:
        """Failed requests are told, and count as no work."""
        self.assertEqual(self.best([8, RuntimeError("busy")]), 8 / 2.0)
        self.assertIn("RuntimeError: busy", "".join(self.printed))

    def test_all_fail(self) -> None:
        """A round without one success is the first failure, whatever other rounds gave."""
        self.assertRaises(ZeroDivisionError, self.best, [8, 8], [ZeroDivisionError(), RuntimeError()])

    def test_nothing(self) -> None:
        """No work at all is an error."""
        self.assertRaises(RuntimeError, self.best, [0, 0])

    def test_setting(self) -> None:
        """A number that is none, or is below one, is an error that names its variable."""
        for text in ("0", "-1", "1.5", "many", "²", "1_0"):
            self.environment["BENCHMARK_RUNS"] = text
            self.assertIn("BENCHMARK_RUNS", str(self.assertRaises(ValueError, measure.setting, "BENCHMARK_RUNS", 3)))
        for text, expected in ((" 12 ", 12), ("", 3), ("  ", 3)):
            self.environment["BENCHMARK_RUNS"] = text
            self.assertEqual(measure.setting("BENCHMARK_RUNS", 3), expected)

    def test_concurrency(self) -> None:
        """What the worker would not let in at once is not measured at once, whatever is asked for."""
        del self.environment["BENCHMARK_CONCURRENCY"]
        self.assertEqual(measure.concurrency(10), 10)
        self.environment["VESPA_MAX_CONCURRENCY"] = "4"
        self.assertEqual(measure.concurrency(10), 4)
        self.assertEqual(measure.concurrency(1), 1)
        self.environment["VESPA_CONNECTION_LIMIT"] = "3"
        self.assertEqual(measure.concurrency(10), 3)
        self.environment["BENCHMARK_CONCURRENCY"] = "16"
        self.assertEqual(measure.concurrency(10), 3)
        self.environment["VESPA_ALLOW_PARALLEL"] = "False"
        self.assertEqual(measure.concurrency(10), 1)
        self.environment = {"BENCHMARK_CONCURRENCY": "16"}
        self.patch(os, "environ", self.environment)
        self.assertEqual(measure.concurrency(10), 16)

    def test_seed(self) -> None:
        """A seed makes the words the same each time; none makes them new."""
        first = measure.words(50)
        measure.generator.cache_clear()
        self.assertEqual(measure.words(50), first)
        del self.environment["BENCHMARK_SEED"]
        measure.generator.cache_clear()
        self.assertNotEqual(measure.words(50), first)

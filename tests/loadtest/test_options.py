"""The command line, and what of it is the client's."""

from __future__ import annotations

from collections.abc import Mapping

from twisted.trial.unittest import SynchronousTestCase

from vespa.loadtest.options import AT_ONCE, BadOptions, LoadOptions, parse
from vespa.loadtest.plan import Plan

KEYS = {"VAST_API_KEY": "endpoint-key"}


def options(line: str, environ: Mapping[str, str] = KEYS) -> LoadOptions:
    return parse(line.split(), environ)


class PlanTests(SynchronousTestCase):
    def plan(self, line: str) -> Plan:
        return options(f"--url http://127.0.0.1:1 {line}").plan

    def test_defaults(self) -> None:
        """Nothing said: a hundred requests, a few at a time."""
        self.assertEqual(self.plan(""), Plan(requests=100, concurrency=AT_ONCE))

    def test_open(self) -> None:
        """With a rate there is no cap, unless one is given."""
        self.assertEqual(self.plan("-n 7 --rps 2.5"), Plan(requests=7, rps=2.5))
        self.assertEqual(self.plan("-n 7 --rps 2 --poisson --concurrency 3").concurrency, 3)

    def test_duration(self) -> None:
        """A duration alone bounds the number of requests no more."""
        self.assertEqual(self.plan("--duration 5 --rps 2").requests, 0)
        self.assertEqual(self.plan("--duration 5 -n 9").requests, 9)

    def test_mistakes(self) -> None:
        """What makes no sense is refused, naming the option."""
        for line, said in (
            ("--rps 0", "--rps"),
            ("--rps nan", "--rps"),
            ("-n x", "-n"),
            ("-n 0", "-n 0"),
            ("--concurrency 0", "--concurrency"),
            ("--poisson", "--poisson"),
            ("--timeout -1", "--timeout"),
            ("--endpoint a", "--endpoint"),
            ("--header nonsense", "--header"),
            ("--html -", "--html: must be a file"),
            ("--no-such-thing", "no-such-thing"),
            ("--req 5", "--req"),
        ):
            with self.assertRaisesRegex(BadOptions, said):
                self.plan(line)


class TargetTests(SynchronousTestCase):
    def test_url(self) -> None:
        """A URL is all that it takes; headers go along."""
        found = parse(["--url", "http://127.0.0.1:8000/", "-H", "Authorization: Bearer x"], {})
        self.assertEqual((found.url, found.settings), ("http://127.0.0.1:8000", None))
        self.assertEqual(found.headers, {"Authorization": "Bearer x"})

    def test_bad_url(self) -> None:
        """A URL must be one."""
        for url in ("localhost:8000", "ftp://a", "unix:/run/a", "http://user@a", "http://a/?b"):
            with self.assertRaisesRegex(BadOptions, "--url"):
                options(f"--url {url}")

    def test_endpoint(self) -> None:
        """An endpoint's settings are read as the client reads them, for a proxy of this test's own."""
        settings = options("-e my-llm --dialect official --attempts 2 --timeout 9").settings
        assert settings is not None
        self.assertEqual((settings.endpoint, settings.endpoint_key), ("my-llm", "endpoint-key"))
        self.assertEqual((settings.dialect, settings.attempts), ("official", 2))
        self.assertEqual((settings.port, settings.host, settings.max_connections), (0, "127.0.0.1", 0))
        self.assertEqual(settings.timeout, 9)

    def test_environment(self) -> None:
        """The endpoint may come from the environment, where the client's port does not matter."""
        settings = options("", {**KEYS, "VAST_ENDPOINT": "my-llm", "VESPA_CLIENT_PORT": "8010"}).settings
        assert settings is not None
        self.assertEqual((settings.endpoint, settings.port), ("my-llm", 0))

    def test_nothing(self) -> None:
        """Neither endpoint nor URL: both are named. No key: it is said where keys belong."""
        with self.assertRaisesRegex(BadOptions, "(?s)endpoint.*--url"):
            options("", {"HOME": "/nonexistent"})
        with self.assertRaisesRegex(BadOptions, "VAST_API_KEY"):
            options("-e my-llm", {"HOME": "/nonexistent"})

    def test_key_on_the_line(self) -> None:
        """A key on the command line works, warns, and is in no text."""
        found = options("-e my-llm --api-key sesame-sesame", {})
        self.assertEqual(len(found.warnings), 1)
        self.assertNotIn("sesame", repr(found))
        with self.assertRaises(BadOptions) as raised:
            options("-e my-llm --api-key sesame-sesame --attempts 0", {})
        self.assertNotIn("sesame", str(raised.exception))

    def test_benchmark(self) -> None:
        """The benchmark is named on the line, by the worker's variable, or is openai_chat."""
        self.assertEqual(options("-e a").benchmark, "benchmarks.openai_chat")
        environ = {**KEYS, "VESPA_BENCHMARK": "bench.py:benchmark"}
        self.assertEqual(options("-e a", environ).benchmark, "bench.py:benchmark")
        self.assertEqual(options("-e a -b benchmarks.tgi", environ).benchmark, "benchmarks.tgi")

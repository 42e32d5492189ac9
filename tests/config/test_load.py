"""The load tester's command line, and the client's options in it."""

from __future__ import annotations

from collections.abc import Mapping

from twisted.trial.unittest import SynchronousTestCase

from vespa.config.commands import LOAD
from vespa.config.load import CLIENT_OPTIONS, LoadReading, read
from vespa.config.reader import SettingsError
from vespa.config.slo import SLO
from vespa.loadtest.command import plan_of
from vespa.loadtest.plan import Plan

KEYS = {"VAST_API_KEY": "endpoint-key"}


def options(line: str, environ: Mapping[str, str] = KEYS) -> LoadReading:
    return read(LOAD.parse(line.split()), environ)


class PlanTests(SynchronousTestCase):
    def plan(self, line: str) -> Plan:
        return plan_of(options(f"--url http://127.0.0.1:1 {line}").settings)

    def test_defaults(self) -> None:
        """By default the test sends 100 requests, ten at a time."""
        self.assertEqual(self.plan(""), Plan(requests=100, concurrency=10))

    def test_open(self) -> None:
        """With a rate, the number of requests in flight has no limit unless one is given."""
        self.assertEqual(self.plan("-n 7 --rps 2.5"), Plan(requests=7, rps=2.5))
        self.assertEqual(self.plan("-n 7 --rps 2 --poisson --concurrency 3").concurrency, 3)

    def test_duration(self) -> None:
        """With a duration only, the number of requests has no limit."""
        self.assertEqual(self.plan("--duration 5 --rps 2").requests, 0)
        self.assertEqual(self.plan("--duration 5 -n 9").requests, 9)

    def test_sweep(self) -> None:
        """A sweep over rates has no limit on requests in flight unless one is given."""
        self.assertEqual(self.plan("--sweep rps=1,2 --poisson"), Plan(requests=100, poisson=True))
        self.assertEqual(self.plan("--sweep rps=1,2 --concurrency 3").concurrency, 3)
        self.assertEqual(self.plan("--sweep concurrency=1,2 -n 7").requests, 7)

    def test_mistakes(self) -> None:
        """Options that contradict each other are refused; the message names them."""
        for line, said in (
            ("--rps 0", "--rps"),
            ("--rps nan", "--rps"),
            ("-n x", "--requests"),
            ("-n 0", "-n 0"),
            ("--concurrency 0", "--concurrency"),
            ("--poisson", "--poisson"),
            ("--timeout -1", "--timeout"),
            ("--endpoint a", "--endpoint"),
            ("--header nonsense", "--header"),
            ("--slo ttft=500", "--slo='ttft=500': 500 is not a time"),
            ("--fail-if p98>2s", "--fail-if='p98>2s': p98 is not a metric"),
            ("--fail-if=", "--fail-if is empty"),
            ("--fail-if p99>2s --fail-if=", "--fail-if is empty"),
            ("--slo=", "--slo is empty"),
            ("--fail-if goodput<5", "goodput needs objectives: add --slo"),
            ("--sweep 1,2", "--sweep='1,2': must be concurrency= or rps="),
            ("--sweep concurrency=1,2 --concurrency 3", "--sweep concurrency= and --concurrency: use only one"),
            ("--sweep rps=1,2 --rps 3", "--sweep rps= and --rps: use only one"),
            ("--sweep concurrency=1,2 --rps 3", "--sweep concurrency= is for a closed loop, without --rps"),
            ("--sweep concurrency=1,2 --poisson", "--poisson needs --rps, or --sweep rps="),
            ("--html -", "--html='-': must be a file"),
            ("--no-such-thing", "no-such-thing"),
            ("--req 5", "--req"),
        ):
            with self.assertRaisesRegex(SettingsError, said):
                self.plan(line)


class TargetTests(SynchronousTestCase):
    def test_url(self) -> None:
        """A URL is all that it takes; headers go along."""
        line = ["--url", "http://127.0.0.1:8000/", "-H", "Authorization: Bearer x"]
        found = read(LOAD.parse(line), {"VAST_ENDPOINT": "other", "VAST_CONSOLE_URL": "x", "VESPA_TRANSPORT": "stock"})
        self.assertEqual((found.settings.url, found.client.endpoint), ("http://127.0.0.1:8000", ""))
        self.assertEqual(found.settings.headers, (("Authorization", "Bearer x"),))
        self.assertEqual(found.client.transport, "stock")

    def test_bad_url(self) -> None:
        """A URL must be one."""
        for url in ("localhost:8000", "ftp://a", "unix:/run/a", "http://user@a", "http://a/?b"):
            with self.assertRaisesRegex(SettingsError, "--url"):
                options(f"--url {url}")

    def test_endpoint(self) -> None:
        """An endpoint's settings are read as the client reads them, for a proxy of this test's own."""
        settings = options("-e my-llm --dialect official --attempts 2 --timeout 9").client
        self.assertEqual((settings.endpoint, settings.endpoint_key), ("my-llm", "endpoint-key"))
        self.assertEqual((settings.dialect, settings.attempts), ("official", 2))
        self.assertEqual((settings.port, settings.host, settings.max_connections), (0, "127.0.0.1", 0))
        self.assertEqual(settings.admin_listen, "")
        self.assertEqual(settings.timeout, 9)

    def test_environment(self) -> None:
        """The endpoint may come from the environment, where the client's port does not matter."""
        settings = options("", {**KEYS, "VAST_ENDPOINT": "my-llm", "VESPA_CLIENT_PORT": "8010"}).client
        self.assertEqual((settings.endpoint, settings.port), ("my-llm", 0))

    def test_nothing(self) -> None:
        """Without endpoint and URL, the error names both. Without a key, it says where keys belong."""
        with self.assertRaisesRegex(SettingsError, "(?s)endpoint.*--url"):
            options("", {"HOME": "/nonexistent"})
        with self.assertRaisesRegex(SettingsError, "VAST_API_KEY"):
            options("-e my-llm", {"HOME": "/nonexistent"})

    def test_empty_url(self) -> None:
        """An empty URL, as of a variable that is not set in a shell, counts as not given: an endpoint is needed."""
        for line in (["--url", ""], ["--url="], ["--url", " "]):
            with self.assertRaisesRegex(SettingsError, "(?s)no endpoint.*--url"):
                read(LOAD.parse(line), KEYS)
            self.assertEqual(read(LOAD.parse([*line, "-e", "my-llm"]), KEYS).client.endpoint, "my-llm")

    def test_key_on_the_line(self) -> None:
        """A key on the command line is accepted with a warning, and no text shows it."""
        found = options("-e my-llm --api-key sesame-sesame", {})
        self.assertEqual(len(found.warnings), 1)
        self.assertNotIn("sesame", repr(found))
        with self.assertRaises(SettingsError) as raised:
            options("-e my-llm --api-key sesame-sesame --attempts 0", {})
        self.assertNotIn("sesame", str(raised.exception))

    def test_benchmark(self) -> None:
        """The command line or the worker's variable names the benchmark; the default is openai_chat."""
        self.assertEqual(options("-e a").settings.benchmark, "benchmarks.openai_chat")
        environ = {**KEYS, "VESPA_BENCHMARK": "bench.py:benchmark"}
        self.assertEqual(options("-e a", environ).settings.benchmark, "bench.py:benchmark")
        self.assertEqual(options("-e a -b benchmarks.tgi", environ).settings.benchmark, "benchmarks.tgi")

    def test_streams(self) -> None:
        """Streams are requested if the payload can, always, or never."""
        for line, streams in (("", None), ("--stream", True), ("--no-stream", False)):
            self.assertEqual(options(f"-e a {line}").settings.streams, streams)
        self.assertRaises(SettingsError, options, "-e a --stream --no-stream")

    def test_objectives(self) -> None:
        """Objectives of good requests are read; by default there are none."""
        self.assertEqual(options("-e a --slo ttft=500ms,tpot=50ms").settings.slo, SLO(ttft=0.5, tpot=0.05))
        self.assertIsNone(options("-e a").settings.slo)

    def test_thresholds(self) -> None:
        """Thresholds may be repeated; one for the goodput is accepted with objectives."""
        found = options("-e a --fail-if p99>2s --fail-if errors>1%").settings.fail_if
        self.assertEqual([each.text for each in found], ["p99>2s", "errors>1%"])
        self.assertEqual(len(options("-e a --slo e2e=1s --fail-if goodput<5").settings.fail_if), 1)

    def test_all_at_once(self) -> None:
        """The mistakes of the line, of the test's own options and of the client's are named in one error, each once."""
        environ = {**KEYS, "VESPA_TRANSPORT": "slow", "VESPA_CLIENT_PROT": "1", "VESPA_CLIENT_PORT": "x"}
        with self.assertRaises(SettingsError) as raised:
            options("--rsp 3 --rps 0 -n x --attempts 0 --header nonsense", environ)
        text = str(raised.exception)
        for part in (
            "7 mistakes in the options:",
            "option --rsp not recognized; did you mean --rps?",
            "--rps='0': must be more than 0",
            "--requests='x': must be a whole number",
            "--header=(hidden): must be 'Name: value'",
            "--attempts='0': must be at least 1, ",
            "VESPA_TRANSPORT='slow': must be one of fast, stock",
            "no endpoint: name it with --endpoint or VAST_ENDPOINT",
            "VESPA_CLIENT_PROT is not a setting; did you mean VESPA_CLIENT_PORT?",
            "or give --url",
        ):
            self.assertIn(part, text)

    def test_clients_options(self) -> None:
        """Each option that is the client's is one of the client's, and of the command."""
        self.assertLessEqual(CLIENT_OPTIONS, {row.flag for row in LOAD.rows})

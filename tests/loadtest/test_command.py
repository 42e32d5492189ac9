"""`vespa-proxy load` as a process: what it writes, and its exit code."""

from __future__ import annotations

import gc
import io
import json
import os
import shlex
import sys
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.processes import ProcessCase
from tests.simulator_support.backend import ControlledBackend
from tests.simulator_support.deployment import ControlledDeployment
from vespa.config.commands import LOAD as LOAD_LINE
from vespa.config.load import read
from vespa.loadtest.command import Command, main
from vespa.loadtest.work import Work, prepare
from vespa.runtime.terminal import Terminal
from vespa.simulator.child import Child
from vespa.simulator.serving import serve

LOAD = [sys.executable, "-m", "vespa.loadtest.command"]
SHORT: Any = {"BENCHMARK_MAX_TOKENS": "5", "BENCHMARK_PROMPT_WORDS": "5"}


class MistakesTests(SynchronousTestCase):
    def main(self, *arguments: str) -> str:
        """Run the command in this process, where it ends before it has a reactor. Returns its error."""
        output, errors = io.StringIO(), io.StringIO()
        self.patch(sys, "stdout", output)
        self.patch(sys, "stderr", errors)
        self.patch(sys, "path", list(sys.path))
        self.patch(os, "environ", {})
        self.assertEqual(main(arguments), 2)
        self.assertEqual(output.getvalue(), "")
        return errors.getvalue()

    def test_mistakes(self) -> None:
        """Options, files and modules that cannot be used are one error, and nothing is sent."""
        folder = self.mktemp()
        os.mkdir(folder)
        module = os.path.join(folder, "bench.py")
        Path(module).write_text("def get_test_request():\n    return 1 / 0\n")
        there = ("--url", "http://127.0.0.1:1")
        for arguments, said in (
            ((*there, "--rps", "x"), "--rps"),
            ((), "no endpoint"),
            ((*there, "-b", "json"), "no get_test_request"),
            ((*there, "-b", module), "get_test_request() failed: ZeroDivisionError"),
            (
                (*there, "--html", folder, "--worker-ca", "missing.pem"),
                f"--html: cannot write {folder}: it is a folder",
            ),
            ((*there, "--html", folder, "--worker-ca", "missing.pem"), "--worker-ca: "),
        ):
            self.assertIn(said, self.main(*arguments))


class MainTests(TestCase):
    """One test of a backend in this process."""

    timeout = 30

    async def setUp(self) -> None:  # type: ignore[override]
        self.backend = ControlledBackend(reactor, tokens_per_second=1e6)
        served = await serve(self.backend.resource(), TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1"))
        self.addCleanup(lambda: Deferred.fromCoroutine(served.stop()))
        self.addCleanup(gc.unfreeze)  # a test freezes what a process of its own would keep for ever
        self.url = served.url
        self.output, self.errors = io.StringIO(), io.StringIO()
        self.patch(sys, "stdout", self.output)
        self.patch(sys, "stderr", self.errors)

    def command(self, *arguments: str, url: str = "", answer: str = "/v1/chat/completions") -> Command:
        reading = read(LOAD_LINE.parse(["--url", url or self.url, *arguments]), {})

        def works() -> Work:
            return prepare((answer, {"messages": [], "max_tokens": 2}, 2), None)

        terminal = Terminal(self.errors, {})
        return Command(reactor, reading, works(), works, terminal, announces=True, hide=lambda secret: None)

    async def test_requests(self) -> None:
        """The plan is told before the test, and the report after it; all went well."""
        self.assertEqual(await self.command("-n", "5").main(), 0)
        self.assertEqual(self.backend.stats.finished, 5)
        self.assertIn("5 requests, 10 at a time", self.errors.getvalue())
        self.assertIn("5 sent, 5 succeeded", self.output.getvalue())

    async def test_failures(self) -> None:
        """Requests that fail are the exit code 1."""
        self.assertEqual(await self.command("-n", "2", "--json", "-", answer="/status/503").main(), 1)
        self.assertEqual(json.loads(self.output.getvalue())["statuses"], {"503": 2})

    async def test_sweep(self) -> None:
        """Each level of a sweep sends its requests, and the report has them all."""
        arguments = ("-n", "3", "--sweep", "concurrency=1,3", "--quiet", "--json", "-")
        self.assertEqual(await self.command(*arguments).main(), 0)
        levels = json.loads(self.output.getvalue())["levels"]
        self.assertEqual([(each["value"], each["report"]["succeeded"]) for each in levels], [(1, 3), (3, 3)])

    async def test_interrupt(self) -> None:
        """A signal ends the test, which is reported; one that comes earlier ends the command."""
        command = self.command("--duration", "600", "--rps", "200", "--json", "-")
        running = Deferred.fromCoroutine(command.main())
        while not self.backend.stats.finished:
            await deferLater(reactor, 0.001)
        command.interrupt(2, None)
        self.assertEqual(await running, 0)
        report = json.loads(self.output.getvalue())
        self.assertEqual((report["interrupted"], report["sent"]), ("interrupted", self.backend.stats.finished))

    async def test_interrupted_early(self) -> None:
        """Interrupted in the warm-up there is nothing to report, and the exit code is 1."""
        command = self.command("-n", "5", "--warmup", "2", answer="/sleep?seconds=100")
        running = Deferred.fromCoroutine(command.main())
        while not self.backend.stats.in_progress:
            await deferLater(reactor, 0.001)
        command.interrupt(2, None)
        command.interrupt(2, None)
        self.assertEqual(await running, 1)
        self.assertIn("vespa-proxy load: interrupted before the test began", self.errors.getvalue())
        self.assertEqual(self.output.getvalue(), "")


class CommandTests(ProcessCase):
    def setUp(self) -> None:
        self.folder = self.temporary_folder()

    def load(self, *arguments: str, **settings: str) -> Child:
        environment = {"HOME": self.folder, "XDG_CONFIG_HOME": self.folder, **SHORT, **settings}
        return self.start([*LOAD, *arguments], environment, folder=self.folder)

    def bench(self, request: str) -> str:
        path = Path(self.folder, "bench.py")
        path.write_text(f"def get_test_request():\n    return {request}\n")
        return str(path)

    async def backend(self) -> ControlledDeployment:
        deployment = self.deployment()
        await deployment.start_backend()
        return deployment

    def report(self) -> Any:
        return json.loads(Path(self.folder, "report.json").read_text())

    async def test_success(self) -> None:
        """All went well: the table on the terminal, the report as JSON and as a page, and exit code 0."""
        deployment = await self.backend()
        files = ("--json", "report.json", "--html", "report.html", "--warmup", "1")
        child = self.load("--url", deployment.backend_url, "-n", "20", "--rps", "40", *files)
        self.assertEqual(await self.until_exit(child), 0, child.text)
        self.assertIn("20 sent, 20 succeeded (100.00%), 0 failed", child.text)
        self.assertIn("warm-up: 1 of 1 requests succeeded", child.text)
        self.assertEqual((self.report()["succeeded"], self.report()["tokens"]), (20, 100))
        self.assertIn("<svg", Path(self.folder, "report.html").read_text())
        self.assertEqual(deployment.backend.stats.finished, 21)
        self.assert_clean_log(child)

    async def test_json_alone(self) -> None:
        """JSON on standard output has it to itself, where progress is not wanted."""
        deployment = await self.backend()
        child = self.load("--url", deployment.backend_url, "-n", "3", "--json", "-", "--quiet", "--no-stream")
        self.assertEqual(await self.until_exit(child), 0, child.text)
        self.assertEqual(json.loads(child.text)["succeeded"], 3)

    async def test_nobody_reads(self) -> None:
        """The files are written even if no program reads the output."""
        deployment = await self.backend()
        line = " ".join(map(shlex.quote, [*LOAD, "--url", deployment.backend_url, "-n", "3", "--json", "report.json"]))
        child = self.start(["/bin/sh", "-c", f"{line} >&- 2>&-"], {"HOME": self.folder, **SHORT}, folder=self.folder)
        self.assertEqual(await self.until_exit(child), 0)
        self.assertEqual(self.report()["succeeded"], 3)

    async def test_failure(self) -> None:
        """One failure is enough for exit code 1."""
        deployment = await self.backend()
        child = self.load("--url", deployment.backend_url, "-n", "2", "-b", self.bench("('/status/503', {}, 1)"))
        self.assertEqual(await self.until_exit(child), 1, child.text)
        self.assertRegex(child.text, "2  status  503 .* status 503, as you asked")

    async def test_thresholds(self) -> None:
        """Thresholds set the exit code, in both directions, and all reports show them."""
        deployment = await self.backend()
        mixed = self.bench("next(requests)")
        with open(mixed, "a") as file:
            file.write("requests = iter([('/v1/chat/completions', {'messages': [], 'max_tokens': 3}, 1)] * 9\n")
            file.write("                + [('/status/429', {}, 1)])\n")
        for limits, code in ((("errors>50%", "p99>60s"), 0), (("p99>60s",), 1), (("errors>50%", "p50>1us"), 1)):
            given = [option for limit in limits for option in ("--fail-if", limit)]
            files = ("--json", "report.json", "--html", "report.html")
            child = self.load("--url", deployment.backend_url, "-n", "10", "-b", mixed, *given, *files)
            self.assertEqual(await self.until_exit(child), code, child.text)
            found = [(each["threshold"], each["failed"]) for each in self.report()["thresholds"]]
            self.assertEqual(found, [(limit, limit == "p50>1us") for limit in limits])
            self.assertRegex(child.text, r"fail if +it was")
            self.assertIn("<h2>Thresholds</h2>", Path(self.folder, "report.html").read_text())

    async def test_sweep(self) -> None:
        """A sweep tests each level, and its table, JSON and page have all of them."""
        deployment = await self.backend()
        files = ("--json", "report.json", "--html", "report.html", "--warmup", "2", "--fail-if", "p99>60s")
        child = self.load("--url", deployment.backend_url, "-n", "6", "--sweep", "concurrency=1,3", *files)
        self.assertEqual(await self.until_exit(child), 0, child.text)
        found = [(level["value"], level["report"]["succeeded"]) for level in self.report()["levels"]]
        self.assertEqual(found, [(1, 6), (3, 6)])
        self.assertEqual([level["report"]["peak_in_flight"] for level in self.report()["levels"]], [1, 3])
        self.assertFalse(self.report()["levels"][1]["report"]["thresholds"][0]["failed"])
        self.assertIn("1, 3 at a time, 6 requests each", child.text)
        self.assertRegex(child.text, r"\nconcurrency +requests/s")
        self.assertEqual(Path(self.folder, "report.html").read_text().count("<details"), 2)
        self.assertEqual(deployment.backend.stats.finished, 14)

    async def test_sweep_interrupted(self) -> None:
        """A Ctrl-C in a sweep ends it with the level that is tested, and reports."""
        deployment = await self.backend()
        more = ("--duration", "600", "--sweep", "rps=20,40", "--json", "report.json")
        child = self.load("--url", deployment.backend_url, *more)
        await self.until_served(deployment, 3)
        child.signal("INT")
        self.assertEqual(await self.until_exit(child, 20), 0, child.text)
        self.assertEqual((self.report()["interrupted"], len(self.report()["levels"])), ("interrupted", 1))

    async def test_mistakes(self) -> None:
        """Options and modules that are no good: exit code 2, one sentence, and nothing sent."""
        for arguments, said in (
            (("--url", "http://127.0.0.1:1", "--rps", "x"), "--rps"),
            ((), "no endpoint"),
            (("--url", "http://127.0.0.1:1", "--fail-if", "p99>2"), "--fail-if='p99>2': 2 is not a time"),
            (("--url", "http://127.0.0.1:1", "-b", "json"), "no get_test_request"),
            (("--url", "http://127.0.0.1:1", "-b", self.bench("1 / 0")), "ZeroDivisionError"),
            (("--url", "http://127.0.0.1:1", "--json", "no/such/folder"), "--json: cannot write no/such/folder"),
            (("--url", "http://127.0.0.1:1", "--html", "."), "--html: cannot write .: it is a folder"),
            (("--url", "http://127.0.0.1:1", "--worker-ca", "missing.pem"), "--worker-ca: "),
        ):
            child = self.load(*arguments)
            self.assertEqual(await self.until_exit(child), 2, child.text)
            self.assertIn(said, child.text)
            self.assertNotIn("Traceback", child.text)

    async def test_announced(self) -> None:
        """What is tested is said before the test, but where the report follows in the same place, and says it."""
        deployment = await self.backend()
        line = " ".join(map(shlex.quote, [*LOAD, "--url", deployment.backend_url, "-n", "3"]))
        said = "3 requests, 10 at a time"
        for more, before, after in (
            (" >out 2>err", 1, 1),
            (" >out 2>&1", 0, 1),
            (" --quiet >out 2>err", 0, 1),
            (" --json - >out 2>err", 1, 0),
        ):
            Path(self.folder, "err").write_text("")
            child = self.start(["/bin/sh", "-c", line + more], {"HOME": self.folder, **SHORT}, folder=self.folder)
            self.assertEqual(await self.until_exit(child), 0, child.text)
            found = [Path(self.folder, name).read_text().count(said) for name in ("err", "out")]
            self.assertEqual(found, [before, after], more)

    async def test_unwritable_later(self) -> None:
        """The error for a file that cannot be written names its option; the rest of the report is complete."""
        deployment = await self.backend()
        child = self.load("--url", deployment.backend_url, "-n", "3", "--json", "/dev/full", "--html", "report.html")
        self.assertEqual(await self.until_exit(child), 1, child.text)
        self.assertIn("--json: cannot write /dev/full", child.text)
        self.assertIn("3 sent, 3 succeeded", child.text)
        self.assertIn("<svg", Path(self.folder, "report.html").read_text())

    async def test_standard_output_full(self) -> None:
        """An error of standard output is reported, with exit code 1."""
        deployment = await self.backend()
        line = " ".join(map(shlex.quote, [*LOAD, "--url", deployment.backend_url, "-n", "3"]))
        child = self.start(["/bin/sh", "-c", f"{line} >/dev/full"], {"HOME": self.folder, **SHORT}, folder=self.folder)
        self.assertEqual(await self.until_exit(child), 1, child.text)
        self.assertIn("could not write the report: ", child.text)

    async def test_interrupt(self) -> None:
        """A Ctrl-C sends no more, lets what is under way end, and reports; nothing failed, so the exit code is 0."""
        deployment = await self.backend()
        child = self.load("--url", deployment.backend_url, "--duration", "600", "--rps", "20", "--json", "report.json")
        await self.until_served(deployment, 3)
        child.signal("INT")
        self.assertEqual(await self.until_exit(child, 20), 0, child.text)
        self.assertEqual((self.report()["interrupted"], self.report()["failed"]), ("interrupted", 0))
        self.assertEqual(self.report()["sent"], deployment.backend.stats.finished)

    async def test_second_interrupt(self) -> None:
        """A second Ctrl-C waits for nothing, and there is a report all the same."""
        deployment = await self.backend()
        slow = self.bench("('/sleep?seconds=100', {}, 1)")
        child = self.load("--url", deployment.backend_url, "-b", slow, "--concurrency", "2", "--json", "report.json")
        await deployment.until(lambda: deployment.backend.stats.in_progress == 2, 30, "under way")
        child.signal("INT")
        await self.until_line(child, "interrupted")
        child.signal("INT")
        began = reactor.seconds()
        self.assertEqual(await self.until_exit(child, 30), 1, child.text)
        await self.assert_quick(reactor.seconds() - began, 4)
        self.assertEqual((self.report()["sent"], self.report()["unfinished"]), (2, 2))

    async def until_served(self, deployment: ControlledDeployment, count: int) -> None:
        await deployment.until(lambda: deployment.backend.stats.finished >= count, 30, "served")

    async def test_endpoint(self) -> None:
        """An endpoint by name: through a client proxy of its own and a worker; the totals show the same cost."""
        deployment = self.deployment()
        await deployment.start_autoscaler()
        await deployment.start_backend()
        deployment.start_worker(BENCHMARK_RUNS="1", BENCHMARK_CONCURRENCY="4", **SHORT)
        await deployment.until_ready()
        autoscaler = deployment.autoscaler
        keys = {"VAST_API_KEY": autoscaler.endpoint_key, "VAST_ENDPOINT": "nobody", "VESPA_CLIENT_TOKEN": "other-token"}
        child = self.load(
            *("-e", autoscaler.endpoint, "--autoscaler-url", deployment.autoscaler_url),
            *(
                "--console-url",
                deployment.autoscaler_url,
                "-n",
                "10",
                "--rps",
                "20",
                "--json",
                "report.json",
                "--debug",
            ),
            **keys,
        )
        self.assertEqual(await self.until_exit(child), 0, child.text)
        self.assertEqual((self.report()["succeeded"], self.report()["statuses"]), (10, {"200": 10}))
        self.assertEqual(self.report()["about"]["target"], autoscaler.endpoint)
        self.assertGreater(self.report()["between_tokens"]["count"], 0)
        self.assertEqual(set(autoscaler.totals.costs.values()), {5.0})
        self.assertNotIn(autoscaler.endpoint_key, child.text)
        self.assert_clean_log(child)

    async def test_no_such_endpoint(self) -> None:
        """An endpoint that the account does not have: nothing is sent, and exit code 1."""
        deployment = self.deployment()
        await deployment.start_autoscaler()
        child = self.load(
            *("-e", "demmo", "--autoscaler-url", deployment.autoscaler_url, "--console-url", deployment.autoscaler_url),
            VAST_ACCOUNT_KEY=deployment.autoscaler.account_key,
        )
        self.assertEqual(await self.until_exit(child), 1, child.text)
        self.assertIn("demmo", child.text)
        self.assertNotIn(deployment.autoscaler.account_key, child.text)

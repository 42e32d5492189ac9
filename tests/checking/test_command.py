"""`vespa-proxy check` as a process: what it writes, and its exit code."""

from __future__ import annotations

import errno
import io
import json
import os
import shlex
import sys
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.processes import ProcessCase, until
from tests.simulator_support.deployment import ControlledDeployment
from vespa.checking.command import Command, as_started, main
from vespa.config.check import read
from vespa.config.commands import CHECK as CHECK_LINE
from vespa.simulator.child import Child
from vespa.simulator.launch import free_port, worker_environment
from vespa.simulator.signing import Signer

CHECK = [sys.executable, "-m", "vespa.cli", "check"]
TOKEN = "token-of-the-worker-2718"


class StartTests(SynchronousTestCase):
    def test_production(self) -> None:
        """With --production the environment is that of start_server.sh, which sets TLS on Vast."""
        environ = {"CONTAINER_ID": "7"}
        started, notes = as_started(environ, production=True)
        self.assertEqual((started["VESPA_USE_SSL"], [each.state for each in notes]), ("true", ["ok"]))
        self.assertNotIn("VESPA_USE_SSL", environ)
        for unchanged in ({}, {"CONTAINER_ID": "7", "USE_SSL": "false"}):
            self.assertEqual(as_started(unchanged, production=True), (unchanged, []))

    def test_hint(self) -> None:
        """Without it, a certificate that start_server.sh has made is a hint that the option is missing."""
        environ = {"CONTAINER_ID": "7", "VESPA_SSL_CERT_FILE": __file__}
        started, notes = as_started(environ, production=False)
        self.assertEqual(started, environ)
        self.assertIn("--production", notes[0].advice)
        self.assertEqual(as_started({**environ, "VESPA_SSL_CERT_FILE": "/nowhere"}, production=False)[1], [])


class FullPipe(io.StringIO):
    """A standard output on a full disk."""

    def flush(self) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")


class MainTests(TestCase):
    """The command in this process, where nothing has to be asked."""

    timeout = 30

    def setUp(self) -> None:
        self.out: io.StringIO = io.StringIO()
        self.complaints: list[str] = []
        self.lines: list[str] = []

    def command(self, *arguments: str, route: bytes | None = None, **more: str) -> Command:
        """The check of an unsecured worker whose backend is not there."""
        environ = {
            "VESPA_BACKEND_URL": f"http://127.0.0.1:{free_port()}",
            "VESPA_UNSECURED": "true",
            "VESPA_WORKER_PORT": str(free_port()),
            "VAST_CONSOLE_URL": "",
            "HOME": self.mktemp(),
            **more,
        }
        settings = read(CHECK_LINE.parse(arguments))
        return Command(reactor, settings, environ, route, self.out, self.complaints.append, self.lines.append)

    async def test_text(self) -> None:
        """What was found as lines; while it runs there is a line, which is removed."""
        self.assertEqual(await self.command().main(), 1)
        self.assertRegex(self.out.getvalue(), r"FAILED +backend")
        self.assertEqual((len(self.lines), self.lines[-1], self.complaints), (2, "", []))

    async def test_json(self) -> None:
        """The same as one JSON object, with the exit code."""
        self.assertEqual(await self.command("--json").main(), 1)
        found = json.loads(self.out.getvalue())
        self.assertEqual((found["exit_code"], [part["part"] for part in found["parts"]]), (1, ["worker"]))

    async def test_secrets(self) -> None:
        """A secret of the worker or the client is shown nowhere, also where a server has repeated it."""
        key = "key-of-the-endpoint-4242"
        url = f"http://127.0.0.1:{free_port()}"
        command = self.command(
            "--json",
            VAST_ENDPOINT="demo",
            VAST_API_KEY=key,
            VAST_AUTOSCALER_URL=url,
            VESPA_CLIENT_PORT="0",
            CONTAINER_ID="7",
            MASTER_TOKEN=TOKEN,
            REPORT_ADDR=f"{url}/{TOKEN}",
        )
        self.assertEqual(await command.main(), 1)
        parts = json.loads(self.out.getvalue())["parts"]
        self.assertEqual([part["part"] for part in parts], ["worker", "client"])
        for secret in (key, TOKEN):
            self.assertNotIn(secret, self.out.getvalue())
        self.assertEqual(parts[0]["report"]["mtoken"], "***")

    async def test_full_disk(self) -> None:
        """A result that cannot be written is an error, and nothing is raised."""
        self.out = FullPipe()
        self.assertEqual(await self.command("--json").main(), 1)
        self.assertEqual(len(self.complaints), 1)
        self.assertIn("cannot write to standard output", self.complaints[0])

    async def test_interrupted(self) -> None:
        """A signal ends it with the exit code of an interruption, and the line is removed."""
        running = Deferred.fromCoroutine(self.command().main())
        running.cancel()
        self.assertEqual(await running, 130)
        self.assertEqual((self.out.getvalue(), self.lines[-1]), ("", ""))


class MistakesTests(SynchronousTestCase):
    def test_mistakes(self) -> None:
        """Wrong options and a file that is not there end the command before it has a reactor."""
        for arguments, said in ((["--fly"], "--fly"), (["--route", "nowhere.json"], "--route='nowhere.json': No such")):
            errors = io.StringIO()
            self.patch(sys, "stderr", errors)
            self.assertEqual(main(arguments), 2)
            self.assertIn("vespa-proxy check: ", errors.getvalue())
            self.assertIn(said, errors.getvalue())


class CommandTests(ProcessCase):
    async def setUp(self) -> None:  # type: ignore[override]
        self.folder = self.temporary_folder()
        self.deployed: ControlledDeployment = self.deployment()
        await self.deployed.start_autoscaler()
        await self.deployed.start_backend()

    def environment(self, **more: str) -> dict[str, str]:
        port = free_port()
        environ = worker_environment(
            port=port,
            backend_url=self.deployed.backend_url,
            report_addr=self.deployed.autoscaler_url,
            cache_file=os.path.join(self.folder, "benchmark"),
            master_token=TOKEN,
        )
        return {**environ, "HOME": self.folder, "VAST_CONSOLE_URL": "", **more}

    def check(self, *arguments: str, stdin: bytes = b"", **more: str) -> Child:
        return self.start([*CHECK, *arguments], self.environment(**more), folder=self.folder, stdin=stdin)

    async def test_well(self) -> None:
        """All is right: a line for each thing, the report, exit code 0, no secret, no file."""
        child = self.check("--strict")
        self.assertEqual(await self.until_exit(child), 0, child.text)
        self.assertIn("The first report to the autoscaler would be:", child.text)
        self.assertRegex(child.lines[-1], r"^\d+ ok$")
        self.assertNotIn(TOKEN, child.text)
        self.assertEqual(os.listdir(self.folder), [])
        self.assert_clean_log(child)

    async def test_json(self) -> None:
        """As JSON, a failure has the same exit code in the document and of the process."""
        child = self.check("--json", VESPA_HEALTHCHECK_ENDPOINT="/nothing")
        self.assertEqual(await self.until_exit(child), 1, child.text)
        found = json.loads(child.text)
        self.assertEqual(found["exit_code"], 1)
        (part,) = found["parts"]
        (failed,) = [each for each in part["findings"] if each["state"] == "failed"]
        self.assertEqual((failed["what"], failed["details"]["answering"][0]), ("health path", "/health"))
        self.assertEqual(part["report"]["mtoken"], "***")

    async def test_output(self) -> None:
        """Output that cannot be written is an error in one sentence; a reader that has left is none."""
        line = " ".join(map(shlex.quote, CHECK))
        for into, code, said in ((">/dev/full", 1, "vespa-proxy check: cannot write to standard output: No space"),
                                 ("| true; exit ${PIPESTATUS[0]}", 0, "")):  # fmt: skip
            for more in ("", " --json"):
                script = f"{line}{more} {into}"
                child = self.start(["/bin/bash", "-c", script], self.environment(), folder=self.folder)
                self.assertEqual(await self.until_exit(child), code, child.text)
                self.assertEqual((len(child.lines), child.text[: len(said)]), (1 if said else 0, said))

    async def test_strict(self) -> None:
        """A warning fails only with --strict."""
        for arguments, code in ((), 0), (("--strict",), 1):
            child = self.check(*arguments, VESPA_BAKEND_URL="x")
            self.assertEqual(await self.until_exit(child), code, child.text)
            self.assertIn("did you mean VESPA_BACKEND_URL?", child.text)

    async def test_route(self) -> None:
        """A pasted response is read from a file or from standard input; its secrets are not shown."""
        assignment: dict[str, Any] = Signer().assignment("http://127.0.0.1:1")
        text = json.dumps(assignment).encode()
        path = Path(self.folder, "route.json")
        path.write_bytes(text)
        for argument, stdin in ((str(path), b""), ("-", text)):
            child = self.check("--route", argument, stdin=stdin)
            self.assertEqual(await self.until_exit(child), 1, child.text)
            self.assertRegex(child.text, "FAILED +route signature +invalid: neither the form url nor the form full")
            self.assertNotIn(assignment["signature"], child.text)

    async def test_both(self) -> None:
        """With variables of both, worker and client are examined."""
        child = self.check(VAST_ENDPOINT="demo", VAST_API_KEY="key-of-the-endpoint", VESPA_CLIENT_PORT="0")
        await self.until_exit(child)
        self.assertEqual([line for line in child.lines if line in ("worker", "client")], ["worker", "client"])
        self.assertNotIn("key-of-the-endpoint", child.text)

    async def test_mistakes(self) -> None:
        """Wrong options and a file that is not there: exit code 2, nothing examined."""
        for arguments, said in (
            (("--fly",), "--fly"),
            (("--route", "nowhere.json"), "--route='nowhere.json': No such"),
        ):
            child = self.check(*arguments)
            self.assertEqual(await self.until_exit(child), 2, child.text)
            self.assertIn(said, child.text)

    async def test_interrupted(self) -> None:
        """A signal ends it, without a traceback."""
        self.deployed.backend.tokens_per_second = 1.0
        child = self.check("--json", VESPA_BENCHMARK=self.sleeper())
        await self.until_file("started")
        child.signal("INT")
        self.assertEqual(await self.until_exit(child), 130, child.text)
        self.assert_clean_log(child)

    def sleeper(self) -> str:
        path = Path(self.folder, "sleeper.py")
        path.write_text("import time\nopen('started', 'w').close()\ntime.sleep(60)\n")
        return f"{path}:benchmark"

    async def until_file(self, name: str) -> None:
        await until(lambda: os.path.exists(os.path.join(self.folder, name)))

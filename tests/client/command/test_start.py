"""Laws of the client as a process: by `vespa-proxy client`, at a terminal or not, and by `twistd vespa-client`."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SkipTest

from tests.client.command.terminal_process import NO_TERMINALS, TerminalProcess
from tests.processes import ProcessCase, until
from tests.simulator_support.autoscaler import ControlledAutoscaler
from tests.simulator_support.deployment import ControlledDeployment
from vespa.http.agent import Agent
from vespa.runtime.http_client import BoundedClient, Response
from vespa.simulator.child import Child
from vespa.simulator.launch import STOPS_BY_SIGNAL, client_command, worker_command

COMMAND = [sys.executable, "-m", "vespa.cli", "client"] if STOPS_BY_SIGNAL else client_command()
ENDPOINT_KEY = "key-of-the-endpoint-2718"
ACCOUNT_KEY = "key-of-the-account-3141"
TOKEN = "a-token-of-mine-8462"
READY = r"ready: (http://127\.0\.0\.1:\d+) → endpoint demo"


class Case(ProcessCase):
    async def setUp(self) -> None:  # type: ignore[override]
        self.simulator: ControlledDeployment = self.deployment()
        self.simulator.autoscaler = ControlledAutoscaler(reactor, endpoint_key=ENDPOINT_KEY, account_key=ACCOUNT_KEY)
        await self.simulator.start_autoscaler()
        self.home = self.temporary_folder()

    def environment(self, **more: str) -> dict[str, str]:
        return {
            "HOME": self.home,
            "USERPROFILE": self.home,
            "APPDATA": self.home,
            "VAST_AUTOSCALER_URL": self.simulator.autoscaler_url,
            "VAST_CONSOLE_URL": self.simulator.autoscaler_url,
            "VESPA_CLIENT_PORT": "0",
            "VAST_ENDPOINT": "demo",
            **more,
        }

    def run_client(self, *arguments: str, twistd: bool = False, **environ: str) -> Child:
        command = worker_command("vespa-client") if twistd else COMMAND
        return self.start([*command, *arguments], self.environment(**environ), folder=self.home)

    async def get(self, url: str, **headers: str) -> Response:
        clock: Any = reactor
        agent = Agent(clock, persistent=False)
        return await BoundedClient(agent, clock).request("GET", url, timeout=10.0, headers=headers)

    def assert_secret(self, text: str, *keys: str) -> None:
        for key in keys or (ENDPOINT_KEY, ACCOUNT_KEY, TOKEN):
            self.assertNotIn(key, text)


class RunTests(Case):
    async def check(self, *, twistd: bool, name: str) -> None:
        child = self.run_client("--debug", twistd=twistd, VAST_API_KEY=ENDPOINT_KEY, VESPA_CLIENT_TOKEN=TOKEN)
        url = (await self.until_line(child, READY))[1]
        refused = await self.get(f"{url}/v1/models")
        self.assertEqual((refused.status, json.loads(refused.body)["error"]["code"]), (401, "token_required"))
        # There is no worker, so that the proxy waits; the caller hangs up when its time is over.
        asked = Deferred.fromCoroutine(self.get(f"{url}/v1/models", Authorization=f"Bearer {TOKEN}"))
        await self.until_line(child, "waiting for a worker")
        asked.addErrback(lambda _: None).cancel()
        told = Path(f"/proc/{child.pid}/cmdline")
        command_line = told.read_bytes().decode() if told.exists() else ""
        child.signal(name)
        self.assertEqual(await self.until_exit(child, 15), 0, child.text)
        self.assert_clean_log(child)
        self.assert_secret(command_line)
        self.assert_secret(child.text)

    async def test_command(self) -> None:
        """By the command: ready in one line, waiting in the log, a clean end, and no key to be seen, debug or not."""
        await self.check(twistd=False, name="TERM")

    async def test_twistd(self) -> None:
        """By twistd as well."""
        await self.check(twistd=True, name="INT")

    async def test_json(self) -> None:
        """Where nobody reads it, and it is not said otherwise, each line is JSON, the one that it is ready included."""
        for twistd in (False, True):
            child = self.run_client(twistd=twistd, VAST_API_KEY=ENDPOINT_KEY, VESPA_LOG_FORMAT="auto")
            await self.until_line(child, '"message": "ready: http://')
            child.signal("TERM")
            self.assertEqual(await self.until_exit(child, 15), 0, child.text)
            lines = [json.loads(line) for line in child.lines]
            self.assertTrue(lines[0]["message"].startswith("Vespa client "), child.text)
            self.assertEqual({tuple(line) for line in lines}, {("time", "level", "namespace", "message")})

    async def test_account_key(self) -> None:
        """With the account's key, from its file or the environment, the endpoint's is found and not shown."""
        (Path(self.home) / ".vast_api_key").write_text(ACCOUNT_KEY)
        for twistd in (False, True):
            child = self.run_client("--debug", twistd=twistd, VAST_ENDPOINT="1")
            await self.until_line(child, READY)
            warned = any("chmod 600" in line for line in child.lines)
            self.assertEqual(warned, os.name == "posix", child.text)
            child.signal("TERM")
            self.assertEqual(await self.until_exit(child, 15), 0, child.text)
            self.assert_secret(child.text)

    async def test_key_on_the_command_line(self) -> None:
        """A key on the command line works and warns; the warning does not show it."""
        for twistd in (False, True):
            child = self.run_client(f"--api-key={ENDPOINT_KEY}", "--debug", twistd=twistd)
            await self.until_line(child, READY)
            self.assertIn("use VAST_API_KEY instead of --api-key", child.text)
            child.signal("TERM")
            self.assertEqual(await self.until_exit(child, 15), 0)
            self.assert_secret(child.text)

    async def test_daemon(self) -> None:
        """As a daemon it lives on when its starter ends, logs to its file, and ends with a signal."""
        if not STOPS_BY_SIGNAL:
            raise SkipTest("this system has no daemons")
        code = "from twisted.scripts.twistd import run; run()"
        command = [sys.executable, "-c", code, "--pidfile=client.pid", "--logfile=client.log", "vespa-client"]
        starter = self.start(command, self.environment(VAST_ACCOUNT_KEY=ACCOUNT_KEY), folder=self.home)
        self.assertEqual(await self.until_exit(starter), 0, starter.text)
        pid_file, log_file = Path(self.home) / "client.pid", Path(self.home) / "client.log"
        await until(pid_file.exists, 20, "the daemon's pid file")
        daemon = int(pid_file.read_text())
        try:
            await until(lambda: re.search(READY, log_file.read_text()), 20, "ready")
        finally:
            os.kill(daemon, signal.SIGTERM)
            await until(lambda: "Server Shut Down" in log_file.read_text(), 20, "the daemon's end")
        self.assertFalse(pid_file.exists())
        self.assert_secret(log_file.read_text() + starter.text)

    async def test_second_signal(self) -> None:
        """A second signal does not wait for what is under way."""
        if not STOPS_BY_SIGNAL:
            raise SkipTest("this system sends no signals")
        child = self.run_client("--drain-timeout=60", VAST_API_KEY=ENDPOINT_KEY)
        url = (await self.until_line(child, READY))[1]
        asked = Deferred.fromCoroutine(self.get(f"{url}/v1/models"))
        asked.addErrback(lambda _: None)
        await self.until_line(child, "waiting for a worker")
        child.signal("TERM")
        await self.until_line(child, "SIGTERM: stopping")
        child.signal("TERM")
        self.assertEqual(await self.until_exit(child, 15), 1)
        asked.cancel()


class FailureTests(Case):
    async def test_bad_options(self) -> None:
        """Every mistake at once: exit code 2 by the command, 1 by twistd."""
        for twistd, code in ((False, 2), (True, 1)):
            child = self.run_client(
                "--host=0.0.0.0", "--attempts=0", twistd=twistd, VESPA_CLIENT_PORT="x", VAST_API_KEY=f"{TOKEN}\u00e4"
            )
            self.assertEqual(await self.until_exit(child), code, child.text)
            for part in ("4 mistakes", "--attempts='0'", "VESPA_CLIENT_PORT='x'", "VAST_API_KEY=(hidden)", "--host="):
                self.assertIn(part, child.text)
            self.assert_clean_log(child)
            self.assert_secret(child.text)

    async def test_unknown_option(self) -> None:
        """An option that is none is exit code 2, and what it was given is not shown."""
        child = self.run_client(f"--api-kye={TOKEN}")
        self.assertEqual(await self.until_exit(child), 2)
        self.assertIn("--api-kye not recognized", child.text)
        self.assert_secret(child.text)

    async def test_taken_port(self) -> None:
        """A taken port is one sentence and exit code 1."""
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = str(taken.getsockname()[1])
            for twistd in (False, True):
                child = self.run_client(twistd=twistd, VAST_API_KEY=ENDPOINT_KEY, VESPA_CLIENT_PORT=port)
                self.assertEqual(await self.until_exit(child), 1, child.text)
                self.assertIn(
                    f"cannot listen on 127.0.0.1 port {port}: Address already in use; another program listens",
                    child.text,
                )
                self.assert_clean_log_but_for_one(child)

    async def test_wrong_account_key(self) -> None:
        """An account key that is refused is one sentence and exit code 1."""
        for twistd in (False, True):
            child = self.run_client("--debug", twistd=twistd, VAST_ACCOUNT_KEY=TOKEN)
            self.assertEqual(await self.until_exit(child), 1, child.text)
            self.assertIn("does not accept the account key (401)", child.text)
            self.assert_clean_log_but_for_one(child)
            self.assert_secret(child.text)

    def assert_clean_log_but_for_one(self, child: Child) -> None:
        self.assertNotIn("Traceback", child.text)
        self.assertLessEqual(child.text.count("critical"), 1)


class ListTests(Case):
    async def test_list(self) -> None:
        """The list goes to standard output and nothing else does."""
        child = self.run_client("--list", VAST_ACCOUNT_KEY=ACCOUNT_KEY, VAST_ENDPOINT="")
        self.assertEqual(await self.until_exit(child), 0, child.text)
        self.assertEqual([line.split()[0] for line in child.lines], ["name", "demo"])
        self.assert_secret(child.text)

    async def test_wrong_key(self) -> None:
        """A key that is refused is exit code 1, no key at all is 2."""
        child = self.run_client("--list", VAST_ACCOUNT_KEY=TOKEN)
        self.assertEqual(await self.until_exit(child), 1, child.text)
        self.assert_secret(child.text)
        child = self.run_client("--list")
        self.assertEqual(await self.until_exit(child), 2, child.text)
        self.assertIn("no account key: set VAST_ACCOUNT_KEY", child.text)


class TerminalTests(Case):
    if NO_TERMINALS:
        skip = NO_TERMINALS

    def at_terminal(self, arguments: Sequence[str] = (), **environ: str) -> TerminalProcess:
        terminal = TerminalProcess()
        terminal.start([*COMMAND, *arguments], self.environment(**environ), self.home)
        self.addCleanup(lambda: Deferred.fromCoroutine(terminal.kill()))
        return terminal

    async def test_whole(self) -> None:
        """Asked for the key, the endpoint and the port; ready; a live line while a request waits; Ctrl-C ends it."""
        terminal = self.at_terminal(VAST_ENDPOINT="", VESPA_CLIENT_PORT="")
        await terminal.shows("Account key (it is not shown): ")
        self.assertFalse(terminal.echoes)
        terminal.type(f"{TOKEN}\n")
        await terminal.shows("does not accept the account key (401)")
        await until(lambda: terminal.text.count("Account key") == 2)
        terminal.type(f"{ACCOUNT_KEY}\n")
        await terminal.shows("Endpoint [1]: ")
        self.assertTrue(terminal.echoes)
        self.assertIn("1  demo  1   active", terminal.text)
        terminal.type("1\n")
        await terminal.shows("Port [8010]: ")
        terminal.type("0\n")
        await terminal.shows("Ctrl-C ends it.")
        found = re.search(READY, terminal.text)
        assert found is not None, terminal.text
        self.assertIn('OpenAI(base_url="http://localhost:', terminal.text)
        asked = Deferred.fromCoroutine(self.get(f"{found[1]}/v1/models"))
        asked.addErrback(lambda _: None)
        await terminal.shows("waiting for a worker, 0 s: ")
        later = re.compile(r"\r\x1b\[2Kwaiting for a worker, [2-9] s: ")  # on a busy machine not each second is shown
        await until(lambda: later.search(terminal.text), 30.0, "the line goes on")
        asked.cancel()
        await terminal.shows(" cancelled ")
        self.assertRegex(terminal.text, r"info \[vespa\.access\]   - cancelled +\d+\.\d ms  GET /v1/models by=client ")
        self.assertNotIn("waiting", terminal.text.rpartition("\x1b[2K")[2], "the live line is still there")
        terminal.type("\x03")
        self.assertEqual(await terminal.code(), 0, terminal.text)
        self.assertTrue(terminal.echoed_at_the_end)
        self.assert_secret(terminal.text)

    async def test_interrupted(self) -> None:
        """Ctrl-C or SIGTERM at a question ends it, and leaves a terminal that shows what is typed, on a new line."""
        for key, prompt in (("", "Account key (it is not shown): "), (ACCOUNT_KEY, "Endpoint [1]: ")):
            for interrupt in (lambda terminal: terminal.type("\x03"), lambda terminal: terminal.signal("TERM")):
                terminal = self.at_terminal(VAST_ENDPOINT="", VAST_ACCOUNT_KEY=key)
                await terminal.shows(prompt)
                interrupt(terminal)
                self.assertEqual(await terminal.code(), 130, terminal.text)
                self.assertTrue(terminal.echoed_at_the_end)
                self.assertTrue(terminal.text.endswith("\r\n"), terminal.text)
                self.assertNotIn("Traceback", terminal.text)

    async def test_end_of_input(self) -> None:
        """Ctrl-D at a question is an error, said in a sentence."""
        terminal = self.at_terminal(VAST_ENDPOINT="", VAST_ACCOUNT_KEY=ACCOUNT_KEY)
        await terminal.shows("Endpoint [1]: ")
        terminal.type("\x04")
        self.assertEqual(await terminal.code(), 1, terminal.text)
        self.assertIn("nothing was chosen", terminal.text)

    async def test_list(self) -> None:
        """At a terminal the list asks for a key that is missing."""
        terminal = self.at_terminal(["--list"], VAST_ENDPOINT="")
        await terminal.shows("Account key (it is not shown): ")
        terminal.type(f"{ACCOUNT_KEY}\n")
        self.assertEqual(await terminal.code(), 0, terminal.text)
        self.assertIn("demo  1   active", terminal.text)
        self.assert_secret(terminal.text)

    async def test_not_asked(self) -> None:
        """With a named endpoint the command asks nothing, even at a terminal: a missing key is an error."""
        terminal = self.at_terminal()
        self.assertEqual(await terminal.code(), 2, terminal.text)
        self.assertIn("no key: set VAST_API_KEY", terminal.text)

"""`vespa-proxy top` as a process: at a terminal, and where there is none."""

from __future__ import annotations

import json
import re
import shlex
import sys
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from tests.client.command.terminal_process import NO_TERMINALS, TerminalProcess
from tests.processes import ProcessCase, until
from tests.top.serving import serve
from vespa.config.reader import SettingsError
from vespa.simulator.launch import free_port
from vespa.top.command import read
from vespa.top.source import Place

COMMAND = [sys.executable, "-m", "vespa.cli", "top"]
TOKEN = "adm1n-t0ken-8462"
INTO_SCREEN, OUT_OF_SCREEN = "\x1b[?1049h", "\x1b[?1049l"


class ReadTests(SynchronousTestCase):
    def test_place(self) -> None:
        """The address may stand alone; without one, the first port is looked for."""
        for argv in (["9465"], ["--url", "9465"], ["--once", "9465", "--json"]):
            self.assertEqual(read(argv, {})[1], Place("http://127.0.0.1:9465"))
        self.assertIsNone(read(["--once"], {})[1])

    def test_token(self) -> None:
        """The token comes from an option, from the worker's variable or the client's, or from the browser's URL."""
        for argv, environ in (
            (["--token=t0ken"], {}),
            ([], {"VESPA_ADMIN_TOKEN": "t0ken"}),
            ([], {"VESPA_CLIENT_ADMIN_TOKEN": "t0ken"}),
            (["http://worker.example:9464/?token=t0ken"], {}),
        ):
            self.assertEqual(read(argv, environ)[0].token, "t0ken")

    def test_mistakes(self) -> None:
        """What cannot be used is an error that names the option."""
        for argv, said in (
            (["ftp://x"], "--url"),
            (["--ca-file=/nowhere"], "--ca-file"),
            (["9464", "9465"], "belongs to no option"),
        ):
            with self.assertRaisesRegex(SettingsError, said):
                read(argv, {})


class TopCase(ProcessCase):
    def serve(self, token: str = "") -> str:
        self.listener = serve(token=token)
        self.addCleanup(self.listener.stopService)
        return self.listener.address


class CommandTests(TopCase):
    async def test_once(self) -> None:
        """Where there is no terminal it prints one table."""
        child = self.start([*COMMAND, self.serve()])
        self.assertEqual(await self.until_exit(child), 0, child.text)
        self.assertIn("worker 1.1.0: ready for 5 min", child.text)
        self.assertIn("estimated wait 3.2 s of at most 10 s", child.text)
        self.assertNotIn("\x1b", child.text)

    async def test_json(self) -> None:
        """With --json it prints the document; without --once a line each second, until a signal ends it."""
        child = self.start([*COMMAND, "--json", "--once", self.serve()])
        self.assertEqual(await self.until_exit(child), 0)
        self.assertEqual(json.loads(child.text)["kind"], "worker")
        child = self.start([*COMMAND, "--json", self.listener.address])
        await until(lambda: len(child.lines) >= 3, what="three lines")
        self.assertGreater(json.loads(child.lines[2])["load"], json.loads(child.lines[1])["load"])
        child.signal("TERM")
        self.assertEqual(await self.until_exit(child), 0)

    async def test_reader_gone(self) -> None:
        """Lines of JSON end when their reader has left, as in `| head`; the command must not go on for ever."""
        line = " ".join(map(shlex.quote, [*COMMAND, "--json", self.serve()]))
        child = self.start(["/bin/bash", "-c", f"{line} | head -n 1; echo ${{PIPESTATUS[0]}}"])
        self.assertEqual(await self.until_exit(child), 0, child.text)
        self.assertEqual(child.lines[1:], ["0"])

    async def test_output_full(self) -> None:
        """Output that cannot be written is an error, in one sentence."""
        for arguments in (["--json"], ["--json", "--once"], ["--once"]):
            line = " ".join(map(shlex.quote, [*COMMAND, *arguments, self.serve()]))
            child = self.start(["/bin/sh", "-c", f"{line} >/dev/full"])
            self.assertEqual(await self.until_exit(child), 1, child.text)
            self.assertRegex(child.text, "^vespa-proxy top: cannot write to standard output: No space [^\n]+\n?$")

    async def test_errors(self) -> None:
        """Without an admin port it says so and exits with 1; the token is in no message."""
        port = free_port()
        child = self.start([*COMMAND, str(port)])
        self.assertEqual(await self.until_exit(child), 1)
        self.assertIn(
            f"vespa-proxy top: http://127.0.0.1:{port}: nothing listens there: give the address that the log shows",
            child.text,
        )
        child = self.start([*COMMAND, self.serve(TOKEN), "--token=no-t0ken-9731"])
        self.assertEqual(await self.until_exit(child), 1)
        self.assertIn("needs the admin token", child.text)
        self.assertNotIn("9731", child.text)
        child = self.start([*COMMAND, self.listener.address, f"--token={TOKEN}"])
        self.assertEqual(await self.until_exit(child), 0)


class TerminalTests(TopCase):
    if NO_TERMINALS:
        skip = NO_TERMINALS

    def at_terminal(self, *arguments: str) -> TerminalProcess:
        terminal = TerminalProcess()
        terminal.start([*COMMAND, *arguments], {}, self.temporary_folder())
        self.addCleanup(lambda: Deferred.fromCoroutine(terminal.kill()))
        return terminal

    def widths(self, terminal: TerminalProcess) -> set[int]:
        """The lengths of the lines that were drawn last."""
        plain = re.sub("\x1b\\[[0-9;?]*[a-zA-Z]", "", terminal.text.rpartition("\x1b[H")[2])
        return {len(line) for line in plain.split("\r\n")}

    async def test_live(self) -> None:
        """The figures change on a screen of their own, at the terminal's width; q gives the terminal back."""
        terminal = self.at_terminal(self.serve())
        terminal.resize(90)
        await terminal.shows("worker 1.1.0: ready for 5 min")
        await terminal.shows("3 units of work")
        self.assertFalse(terminal.echoes)
        self.assertTrue(terminal.text.startswith(INTO_SCREEN))
        terminal.resize(70)
        await until(lambda: max(self.widths(terminal)) <= 70, what="the new width")
        terminal.type("q")
        self.assertEqual(await terminal.code(), 0)
        self.assertTrue(terminal.text.endswith(OUT_OF_SCREEN), terminal.text[-200:])
        self.assertTrue(terminal.echoed_at_the_end)

    async def test_interrupt(self) -> None:
        """Ctrl-C ends it as well, and gives the terminal back."""
        terminal = self.at_terminal(self.serve())
        await terminal.shows("q ends it")
        terminal.type("x\x03")
        self.assertEqual(await terminal.code(), 0)
        self.assertTrue(terminal.text.endswith(OUT_OF_SCREEN), terminal.text[-200:])
        self.assertTrue(terminal.echoed_at_the_end)

    async def test_end_of_input(self) -> None:
        """Ctrl-D ends it as well."""
        terminal = self.at_terminal(self.serve())
        await terminal.shows("q ends it")
        terminal.type("\x04")
        self.assertEqual(await terminal.code(), 0)
        self.assertTrue(terminal.echoed_at_the_end)

    async def test_lost(self) -> None:
        """A lost connection is told, and the figures go on when the port is there again."""
        port = free_port()
        endpoint = f"tcp:{port}:interface=127.0.0.1"
        first = serve(endpoint)
        terminal = self.at_terminal(str(port))
        await terminal.shows("2 units of work")
        await first.stopService()
        await terminal.shows("trying again")
        seen = len(terminal.text)
        second: Any = serve(endpoint)
        self.addCleanup(second.stopService)
        await until(lambda: "2 units of work" in terminal.text[seen:], what="new figures")
        terminal.type("q")
        self.assertEqual(await terminal.code(), 0)

"""Each module that is started by `python -m` or as a script says how, and what is wrong with a command line."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from tests.e2e.clients import FOLDER, e2e_python, missing
from tests.processes import ProcessCase
from vespa.simulator.launch import ROOT

MODULES = (
    "vespa.config.documentation",
    "vespa.simulator.comfyui_process",
    "vespa.worker.certificate",
    "perf.backend",
    "perf.load",
    "tests.drawings",
)
"""The modules that no subcommand of `vespa-proxy` starts, and whose options no other test reads."""
SCRIPTS = ("vespa/benchmarking/isolated.py", "vespa/migrating/start.py", "worker.py")
E2E_SCRIPTS = {
    "llama.py": "xllamacpp",
    "official_client.py": "vastai",
    "official_sessions.py": "vastai",
    "official_worker.py": "vastai",
    "openai_client.py": "openai",
    "websocket_sdk.py": "websockets",
}
"""The scripts of the end-to-end tests, each with the package that it needs; one for all that only call job.run()."""
COMMANDS = (
    *([sys.executable, "-m", module] for module in MODULES),
    *([sys.executable, os.path.join(ROOT, script)] for script in SCRIPTS),
)


class CommandLineTests(ProcessCase):
    slow = True

    async def said(self, command: Sequence[str], *arguments: str) -> tuple[int, str]:
        """The exit code of a command without input, and what it printed."""
        child = self.start([*command, *arguments], {"PYTHONPATH": ROOT})
        return await self.until_exit(child), child.text

    async def check(self, command: Sequence[str]) -> None:
        code, text = await self.said(command, "--help")
        self.assertEqual(code, 0, (command, text))
        self.assertIn("usage", text.lower(), command)
        code, text = await self.said(command, "--no-such-option")
        self.assertEqual(code, 2, (command, text))
        self.assertNotIn("Traceback", text, command)
        self.assertRegex(text, r"error|mistake", command)

    async def test_every_module(self) -> None:
        """--help prints a usage and ends with 0, an unknown option gives a sentence and 2, and neither a traceback."""
        for command in COMMANDS:
            await self.check(command)

    async def test_failure_report(self) -> None:
        """The report of a failed start takes any words, and says how to call it where there are none."""
        command = [sys.executable, "-m", "vespa.worker.failure_report"]
        for arguments, expected in ((["--help"], 0), ([], 2)):
            code, text = await self.said(command, *arguments)
            self.assertEqual(code, expected, text)
            self.assertIn("usage: python -m vespa.worker.failure_report", text)
        code, text = await self.said(command, "--no-such-option", "is", "unknown")
        self.assertEqual((code, "could not be reported" in text), (1, True), text)

    async def test_recording(self) -> None:
        """The script that records the demo passes options on to it, but not --help, and names no file by an option."""
        command = [sys.executable, os.path.join(ROOT, "scripts", "record_demo.py")]
        code, text = await self.said(command, "--help")
        self.assertEqual((code, text.startswith("usage: record_demo.py")), (0, True), text)
        code, text = await self.said(command, "--no-such-option")
        self.assertEqual(code, 1, text)
        self.assertIn("option --no-such-option not recognized", text)

    async def test_end_to_end_scripts(self) -> None:
        """The same for the scripts that the end-to-end Python runs, as far as their packages are installed for it."""
        python = e2e_python()
        for script, package in E2E_SCRIPTS.items():
            if not missing(package, python):
                await self.check([python, os.path.join(FOLDER, script)])

    async def test_wrong_values(self) -> None:
        """An argument of the wrong kind is named, with what it has to be."""
        module = [sys.executable, "-m"]
        for command, arguments, why in (
            ([*module, "vespa.simulator.comfyui_process"], ["8188x"], "'8188x' is not a port"),
            ([*module, "vespa.simulator.comfyui_process"], ["65536"], "a number from 0 to 65535"),
            ([*module, "vespa.simulator.comfyui_process"], ["0", "nan"], "'nan' is not a time"),
            ([*module, "vespa.simulator.comfyui_process"], ["0", "-1"], "error"),
            ([*module, "vespa.simulator.comfyui_process"], ["0", "1", "2"], "unrecognized arguments: 2"),
            ([*module, "perf.backend"], ["/no/such.pem", "x"], "/no/such.pem: No such file"),
            ([*module, "perf.load"], ["{}"], "SPEC is no such JSON"),
            ([*module, "perf.load"], ["nonsense"], "SPEC is no such JSON"),
            ([sys.executable, os.path.join(ROOT, SCRIPTS[0])], [], "run `vespa-proxy benchmark`"),
            ([sys.executable, os.path.join(ROOT, SCRIPTS[1])], [], "Run `vespa-proxy migrate` instead"),
        ):
            code, text = await self.said(command, *arguments)
            self.assertEqual(code, 2, (command, text))
            self.assertIn(why, text)
            self.assertNotIn("Traceback", text)

"""The `vespa-proxy` command and its subcommands."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from vespa import __version__
from vespa.cli import COMMANDS, main
from vespa.config.documentation import markdown


class CommandTests(SynchronousTestCase):
    def run_command(self, *arguments: str) -> tuple[object, str]:
        output = io.StringIO()
        self.patch(sys, "stdout", output)
        self.patch(sys, "stderr", output)
        try:
            return main(arguments), output.getvalue()
        except SystemExit as exit:
            return exit.code, output.getvalue()

    def test_help(self) -> None:
        """--help names every subcommand and is no error; each of them has its own."""
        code, text = self.run_command("--help")
        self.assertEqual(code, 0)
        names = ["worker", "client", "load", "check", "benchmark", "top", "migrate", "demo", "settings", "version"]
        self.assertEqual(list(COMMANDS), names)
        for name in COMMANDS:
            self.assertIn(name, text)
            self.assertEqual(self.run_command(name, "--help")[0], 0, name)

    def test_version(self) -> None:
        """--version prints the same for the command and for every subcommand, whatever else is missing or wrong."""
        for arguments in (("--version",), *((name, "--version") for name in COMMANDS), ("version",)):
            self.assertEqual(self.run_command(*arguments), (0, f"vespa-proxy {__version__}\n"), arguments)

    def test_settings(self) -> None:
        """The settings are printed as they are documented."""
        code, text = self.run_command("settings")
        self.assertEqual(code, 0)
        self.assertEqual(text, markdown() + "\n")

    def test_mistakes(self) -> None:
        """An unknown command or option gives exit code 2."""
        for arguments in ((), ("fly",), ("version", "x"), ("client", "--fly"), ("client", "x")):
            self.assertEqual(self.run_command(*arguments)[0], 2)

    def test_full(self) -> None:
        """Standard output that cannot be written is an error in one sentence, whatever is printed."""
        if not os.path.exists("/dev/full"):
            raise SkipTest("this system has no /dev/full")
        for arguments in (("--help",), ("settings",), ("version",), ("top", "--help")):
            with open("/dev/full", "w") as output:
                errors = io.StringIO()
                self.patch(sys, "stdout", output)
                self.patch(sys, "stderr", errors)
                self.assertEqual(main(arguments), 1, arguments)
            said = "vespa-proxy: cannot write to standard output: No space left on device\n"
            self.assertEqual(errors.getvalue(), said, arguments)

    def test_interrupt(self) -> None:
        """Ctrl-C before a command takes signals ends it without a traceback."""
        benchmark = self.mktemp() + ".py"
        Path(benchmark).write_text("raise KeyboardInterrupt\n")
        self.assertEqual(self.run_command("load", "--url", "http://127.0.0.1:1", "-b", benchmark), (130, ""))

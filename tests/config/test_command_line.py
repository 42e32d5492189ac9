"""Parsing a command line, and the help that lists all settings."""

from __future__ import annotations

import io
import sys

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from vespa import __version__
from vespa.config.command_line import CommandLine, TwistdOptions
from vespa.config.commands import CLIENT, DEMO, LOAD, WORKER
from vespa.config.reader import Given
from vespa.config.schema import Option
from vespa.config.values import text, whole

LINE = CommandLine(
    "a thing",
    "Does things.",
    (
        Option(text, "", "Where to.", flag="url", short="u", name="THE_URL", unit="address"),
        Option(whole(0), "7", "How many.", flag="count", short="n"),
        Option(None, "", "No talking.", flag="quiet"),
        Option(text, "x", "From outside.", name="THE_VARIABLE", fallback="OLDER"),
        Option(text, "", "For programs."),
    ),
)


class ParseTests(SynchronousTestCase):
    def test_forms(self) -> None:
        """A value stands behind `=`, behind a letter, or as the next argument; switches have none."""
        for line, texts in (
            ("--url=a --url b", {"url": ["a", "b"]}),
            ("-ua -u b -n7", {"url": ["a", "b"], "count": ["7"]}),
            ("-u=a -n=7 -u=a=b", {"url": ["a", "a=b"], "count": ["7"]}),
            ("--quiet --count=", {"quiet": [""], "count": [""]}),
            ("--count -1 --url -", {"count": ["-1"], "url": ["-"]}),
            ("--url=a=b", {"url": ["a=b"]}),
            ("", {}),
        ):
            self.assertEqual(LINE.parse(line.split()), Given(texts), line)

    def test_operand(self) -> None:
        """One value may stand alone where the command has an operand, before or after options; the option comes too."""
        line = evolve(LINE, operand="url")
        for typed, texts in (
            ("a", {"url": ["a"]}),
            ("--quiet a -n 7", {"quiet": [""], "url": ["a"], "count": ["7"]}),
            ("-n 7 a --quiet", {"count": ["7"], "url": ["a"], "quiet": [""]}),
            ("--url=a", {"url": ["a"]}),
        ):
            self.assertEqual(line.parse(typed.split()), Given(texts), typed)
        self.assertEqual(len(line.parse(["a", "b"]).problems), 1)
        self.assertTrue(line.help().startswith("Usage: a thing [options] [URL]\n"))

    def test_mistakes(self) -> None:
        """The error names each mistake of a line once, suggests the nearest name, and shows no value."""
        found = LINE.parse("--ulr=hush --fly hush --quiet=hush hush hush -x --count --quiet -u".split())
        self.assertEqual(
            found.problems,
            (
                "option --ulr not recognized; did you mean --url?",
                "option --fly not recognized",
                "--quiet takes no value",
                "an argument belongs to no option; it is not shown because it may be a key",
                "option -x not recognized",
                "--count needs a value",
                "-u needs a value",
            ),
        )
        self.assertEqual(found.texts, {"quiet": [""]})

    def test_no_options(self) -> None:
        """A command without options says so, and where its settings are if it has any."""
        self.assertEqual(
            WORKER.parse(["--port", "3000"]).problems,
            (f"option --port not recognized: {WORKER.command} has no options, its settings are environment variables",),
        )
        self.assertEqual(
            CommandLine("a thing", "Does things.").parse(["--x"]).problems,
            ("option --x not recognized: a thing has no options",),
        )

    def test_no_abbreviations(self) -> None:
        """An abbreviated option is refused: a later option could make it ambiguous."""
        self.assertEqual(LINE.parse(["--cou=1"]).problems, ("option --cou not recognized; did you mean --count?",))

    @given(st.lists(st.sampled_from(["--url", "--count", "-n", "-u", "--quiet", "=", "--", "-", "", "x", "--x=y"])))
    def test_any_line(self, pieces: list[str]) -> None:
        """Each argument of any line is either parsed or named as a mistake."""
        for line in (pieces, ["".join(pieces)]):
            found = LINE.parse(line)
            self.assertTrue(set(found.texts) <= {"url", "count", "quiet"})
            self.assertEqual(bool(line), bool(found.texts or found.problems), line)


class PrintedTests(SynchronousTestCase):
    def printed(self, line: CommandLine, *arguments: str) -> str:
        output = io.StringIO()
        self.patch(sys, "stdout", output)
        ended = self.assertRaises(SystemExit, line.parse, arguments)
        self.assertEqual(ended.code, 0)
        return output.getvalue()

    def test_version(self) -> None:
        """--version prints the version, whatever the other arguments are."""
        self.assertEqual(self.printed(LINE, "--fly", "--version"), f"vespa-proxy {__version__}\n")

    def test_help(self) -> None:
        """--help has a name, the meaning, the default with its unit, and the variable of each option and variable."""
        self.assertEqual(
            self.printed(LINE, "--help"),
            "Usage: a thing [options]\n"
            "\n"
            "Does things.\n"
            "\n"
            "Options:\n"
            "  -u, --url ADDRESS           Where to. [THE_URL]\n"
            "  -n, --count VALUE           How many. [default: 7]\n"
            "  --quiet                     No talking.\n"
            "  THE_VARIABLE or OLDER       From outside. [default: x]\n",
        )

    def test_every_row(self) -> None:
        """Each command's help lists every option and every variable that it has."""
        for line in (WORKER, CLIENT, LOAD, DEMO):
            shown = " ".join(self.printed(line, "-h").split())
            for row in line.rows:
                if row.flag or row.name:
                    for text in (row.flag, row.name, row.fallback, row.default or ""):
                        self.assertIn(text, shown)
                    self.assertIn(row.unit if row.default else "", shown)
        self.assertIn("--max-connections-per-host VALUE", self.printed(CLIENT, "-h"))
        self.assertIn(
            "--allow-host VALUE          A further name by which callers may address this proxy. [may be",
            self.printed(CLIENT, "-h"),
        )

    def test_width(self) -> None:
        """A line of the help has 100 columns at most."""
        for line in (WORKER, CLIENT, LOAD, DEMO):
            self.assertLessEqual(max(map(len, self.printed(line, "-h").splitlines())), 100)


class TwistdTests(SynchronousTestCase):
    def test_options(self) -> None:
        """twistd parses its line with our parser, and the plugin reads the options; they show no keys."""
        read = []

        class Options(TwistdOptions):
            line = LINE

            def postOptions(self) -> None:
                read.append(self.given)

        options = Options({"A": "b"})
        options.parseOptions(["--url=a-key"])
        self.assertEqual(read, [Given({"url": ["a-key"]})])
        self.assertEqual(options.environ, {"A": "b"})
        self.assertNotIn("a-key", repr(options) + str(options))
        self.assertEqual(str(options), LINE.help())

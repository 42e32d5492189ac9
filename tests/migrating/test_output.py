"""The text is a script that a shell can source, whatever the file has in its values."""

from __future__ import annotations

import json
import os
import shutil
import subprocess

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from vespa.migrating.output import shown, to_json, to_text
from vespa.migrating.plan import Plan, Remark, Setting

WILD = (
    "plain",
    "",
    "a b",
    "$(touch pwned)",
    "`touch pwned`",
    "'; touch pwned; '",
    '"; touch pwned; "',
    "a\\",
    "!!",
    "~",
    "*",
    "a\ntouch pwned",
    "a\r\ntouch pwned",
    "é \u2028 x",
    "#",
    "-n",
)


class TextTests(SynchronousTestCase):
    def source(self, text: str, folder: str) -> dict[str, str]:
        """The variables that a shell has after sourcing the text in an empty environment."""
        shell = shutil.which("sh")
        if shell is None:
            raise SkipTest("there is no shell here")
        script = os.path.join(folder, "vespa.env")
        with open(script, "w", encoding="utf-8", newline="") as file:
            file.write(text)
        done = subprocess.run(
            [shell, "-euc", ". ./vespa.env; env -0"], cwd=folder, env={"PATH": os.environ["PATH"]}, capture_output=True,
            check=True,
        )  # fmt: skip
        self.assertEqual(done.stderr, b"")
        return dict(pair.split("=", 1) for pair in done.stdout.decode().split("\0") if pair)

    def test_values(self) -> None:
        """Every value arrives as it is, and nothing of it is run."""
        folder = self.mktemp()
        os.mkdir(folder)
        plan = Plan([Setting(f"VESPA_{number}", value, "x") for number, value in enumerate(WILD)])
        environment = self.source(to_text(plan, "title", []), folder)
        for name, value in plan.environment.items():
            self.assertEqual(environment[name], value)
        self.assertEqual(os.listdir(folder), ["vespa.env"])

    def test_words(self) -> None:
        """Nothing of a word leaves its comment."""
        folder = self.mktemp()
        os.mkdir(folder)
        for text in WILD:
            plan = Plan([Setting("VESPA_A", "1", text)], [Remark(text, text)], [Remark(text, f"long {text} " * 30)])
            environment = self.source(to_text(plan, text, [text]), folder)
            self.assertEqual([name for name in environment if name.startswith("VESPA_")], ["VESPA_A"])
        self.assertEqual(os.listdir(folder), ["vespa.env"])

    def test_sections(self) -> None:
        """What is missing stands before what has no setting; empty sections are left out."""
        text = to_text(Plan([], [Remark("a", "Do it.")], [Remark("b", "Know it.")]), "title", ["note"])
        self.assertLess(text.index("# - a: Do it."), text.index("# - b: Know it."))
        self.assertEqual(to_text(Plan(), "title", []), "# title\n#\n")

    def test_shown(self) -> None:
        """Control characters, separators and lone surrogates become escapes; other letters stay."""
        self.assertEqual(shown("a\nb\x1b[31m\u2028é\udc80"), "a\\nb\\x1b[31m\\u2028é\\udc80")


class JSONTests(SynchronousTestCase):
    def test_document(self) -> None:
        """The same for programs."""
        plan = Plan([Setting("VESPA_A", "1", "x")], [Remark("a", "Do it.")], [])
        document = json.loads(to_json(plan, "worker.py", "", ["note"], ""))
        self.assertEqual(
            document,
            {
                "file": "worker.py",
                "package": None,
                "environment": {"VESPA_A": "1"},
                "sources": {"VESPA_A": "x"},
                "benchmark": None,
                "missing": [{"about": "a", "text": "Do it."}],
                "remarks": [],
                "notes": ["note"],
            },
        )

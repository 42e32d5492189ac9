"""Laws of all files in `deploy/` together, and of what reads them."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import yaml
from twisted.trial.unittest import SynchronousTestCase

from tests.deploy.files import DEPLOY, ROOT, Setting, dockerfile, documents, environment_file, unit
from vespa.config.names import variables

_NAME = re.compile(
    r"\b(?:VESPA|VAST|BENCHMARK)_[A-Z0-9_]*[A-Z0-9]\b|\b(?:CONTAINER_ID|MASTER_TOKEN|REPORT_ADDR|MODEL_NAME)\b"
)

TEXTS = sorted(path for path in DEPLOY.rglob("*") if path.suffix not in {".json", ".pyc"} and path.is_file())


def comments(path: Path) -> list[str]:
    """The lines of a file that explain it."""
    lines = [line.strip() for line in path.read_text("utf-8").splitlines()]
    return lines if path.suffix == ".md" else [line for line in lines if line.startswith(("#", '"""'))]


class ContentTests(SynchronousTestCase):
    def test_variables(self) -> None:
        """Every setting that is named exists."""
        known = variables() | {"VAST_TCP_PORT_3000"}
        unknown = [
            f"{path.relative_to(ROOT)}: {name}"
            for path in TEXTS
            for name in _NAME.findall(path.read_text("utf-8"))
            if name not in known
        ]
        self.assertEqual(unknown, [])

    def test_explained(self) -> None:
        """Each file says what it is for, and why it is as it is."""
        self.assertEqual([path.name for path in TEXTS if not comments(path)], [])

    def test_scripts(self) -> None:
        """The scripts can be run, and their shells understand them."""
        for name, shell in (("docker/entrypoint.sh", "sh"), ("vast/onstart.sh", "bash")):
            subprocess.run([shell, "-n", str(DEPLOY / name)], check=True)
        for name in ("docker/entrypoint.sh", "docker/healthcheck.py", "vast/onstart.sh"):
            self.assertTrue((DEPLOY / name).stat().st_mode & 0o100, name)

    def test_distributions(self) -> None:
        """The source distribution has the folder; what is installed has not."""
        self.assertIn("graft deploy", (ROOT / "MANIFEST.in").read_text().splitlines())
        self.assertFalse((DEPLOY / "__init__.py").exists())


class ReaderTests(SynchronousTestCase):
    """The readers of these files find what they look for."""

    def write(self, text: str) -> Path:
        path = Path(self.mktemp())
        path.write_text(text, "utf-8")
        return path

    def test_unit(self) -> None:
        """A unit's lines have a section; a line that is none is an error."""
        path = self.write("# no\n[Service]\nType=notify\n; no\nEnvironment=A=B\n")
        self.assertEqual(unit(path), [Setting("Service", "Type", "notify"), Setting("Service", "Environment", "A=B")])
        for wrong in ("Type=notify\n", "[Service]\nType\n"):
            self.assertRaises(ValueError, unit, self.write(wrong))

    def test_environment_file(self) -> None:
        """Comments count if asked; what systemd would read in another way is an error."""
        path = self.write("# A comment.\nA=b c\n#D=e\n# F=g\n")
        self.assertEqual(environment_file(path), {"A": "b c"})
        self.assertEqual(environment_file(path, with_comments=True), {"A": "b c", "D": "e"})
        for wrong in ("A\n", 'A="b"\n', "A= b\n", "A=$B\n"):
            self.assertRaises(ValueError, environment_file, self.write(wrong))

    def test_dockerfile(self) -> None:
        """Instructions go on after a backslash, and comments between their lines do not end them."""
        path = self.write(
            'ARG A=1\nFROM a AS b\nRUN x && \\\n    # no\n    y\n\nFROM c\nCOPY --from=b /d /e\nCMD ["f", "g"]\n'
        )
        found = dockerfile(path)
        self.assertEqual(
            [(each.stage, each.name) for each in found],
            [(0, "ARG"), (1, "FROM"), (1, "RUN"), (2, "FROM"), (2, "COPY"), (2, "CMD")],
        )
        self.assertEqual(found[2].text, "x && y")
        self.assertEqual((found[4].flags, found[4].words), ({"from": "b"}, ["/d", "/e"]))
        self.assertEqual(found[5].words, ["f", "g"])

    def test_yaml(self) -> None:
        """A name that stands twice is an error: the first value would be lost."""
        self.assertEqual(documents(self.write("a: &x {b: 1}\n---\nc: 2\n")), [{"a": {"b": 1}}, {"c": 2}])
        self.assertRaises(yaml.YAMLError, documents, self.write("a: 1\nb: {c: 1, c: 2}\n"))

"""Importing what a user names."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from vespa.runtime.importing import import_place


class ImportingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.patch(sys, "path", list(sys.path))
        self.patch(sys, "modules", dict(sys.modules))

    def test_module(self) -> None:
        """A module is imported by its name."""
        self.assertIs(import_place("json"), json)
        self.assertRaises(ModuleNotFoundError, import_place, "no.such.module")

    def test_file(self) -> None:
        """A file is imported by its path, with its siblings, and is a module like any other."""
        (self.folder / "sibling_of_mine.py").write_text("x = 2")
        file = self.folder / "a_file_of_mine.py"
        file.write_text("import sibling_of_mine\ny = sibling_of_mine.x")
        module = import_place(str(file))
        self.assertEqual((module.y, module.__file__), (2, str(file)))
        self.assertIs(sys.modules["a_file_of_mine"], module)

    def test_names(self) -> None:
        """A file replaces no module of its name, nor does one beside it; its own name need not be a module's."""
        for name in ("json.py", "with-dash.py"):
            (self.folder / name).write_text("import json\nwhole = json.dumps")
            self.assertIs(import_place(str(self.folder / name)).whole, json.dumps)
        self.assertIs(sys.modules["json"], json)

    def test_missing(self) -> None:
        """A file that is not there is named."""
        error = self.assertRaises(FileNotFoundError, import_place, str(self.folder / "none.py"))
        self.assertIn(str(self.folder / "none.py"), str(error))

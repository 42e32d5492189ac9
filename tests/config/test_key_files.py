"""The files that may hold the account's key, and files without a valid key."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from vespa.config.key_files import FoundKey, KeyFile, account_key, account_key_files, read_file

SECRET = "a-very-secret-key"


class KeyFileTests(SynchronousTestCase):
    FOLDER = os.path.abspath(os.sep + "h")
    HOME = {"HOME": FOLDER, "USERPROFILE": FOLDER}
    NEWER = os.path.join(FOLDER, ".config", "vastai", "vast_api_key")
    OLDER = os.path.join(FOLDER, ".vast_api_key")

    def test_places(self) -> None:
        """The files are where the `vastai` command keeps them; a relative XDG_CONFIG_HOME is none."""
        self.assertEqual(account_key_files(self.HOME), [self.NEWER, self.OLDER])
        absolute = os.path.abspath(os.sep + "c")
        there = os.path.join(absolute, "vastai", "vast_api_key")
        for config, newer in ((absolute, there), ("c", self.NEWER), ("", self.NEWER)):
            self.assertEqual(account_key_files({**self.HOME, "XDG_CONFIG_HOME": config}), [newer, self.OLDER])
        self.assertEqual(account_key_files({}), [])
        self.assertEqual(account_key_files({"XDG_CONFIG_HOME": absolute}), [there])

    def test_places_on_windows(self) -> None:
        """There %APPDATA% comes first, and home is %USERPROFILE%; elsewhere these say nothing."""
        environ = {"USERPROFILE": self.FOLDER, "APPDATA": "roaming", "HOME": "of-another-shell"}
        roaming = os.path.join("roaming", "vastai", "vast_api_key")
        self.assertEqual(account_key_files(environ, windows=True), [roaming, self.NEWER, self.OLDER])
        elsewhere = account_key_files({**environ, "HOME": self.FOLDER}, windows=False)
        self.assertEqual(elsewhere, [self.NEWER, self.OLDER])

    def test_no_key_in_a_file(self) -> None:
        """A file without a valid key is ignored with a warning that does not show its text."""
        for text in (f"{SECRET} x", f"{SECRET}\n{SECRET}", "x" * 5000, "ключ"):
            found = account_key(self.HOME, {self.NEWER: KeyFile(text), self.OLDER: KeyFile("k")}.get)
            warnings = (f"{self.NEWER} is ignored: it does not contain a key",)
            self.assertEqual(found, FoundKey("k", self.OLDER, warnings))

    def test_unreadable(self) -> None:
        """A file that cannot be read is ignored with a warning."""

        def denied(path: str) -> KeyFile:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

        found = account_key(self.HOME, denied)
        self.assertEqual((found.key, found.path, len(found.warnings)), ("", "", 2))
        self.assertEqual(found.warnings[0], f"{self.NEWER} is ignored: Permission denied")

    def test_read_file(self) -> None:
        """A file's text is read, a file that is not there is none, and a folder is an error."""
        folder = Path(self.mktemp())
        folder.mkdir()
        (folder / "key").write_text(SECRET)
        found = read_file(str(folder / "key"))
        assert found is not None
        self.assertEqual(found.text, SECRET)
        self.assertNotIn(SECRET, repr(found))
        self.assertIsNone(read_file(str(folder / "none")))
        self.assertRaises(OSError, read_file, str(folder))

"""Files read and replaced whole, and what else may be at their paths."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from vespa.runtime.files import read_file, replace_file


class FileTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.path = self.folder / "file"

    def test_read(self) -> None:
        """No more is read than was asked for."""
        self.path.write_bytes(b"12\r\n345")
        self.assertEqual(read_file(str(self.path), 100), b"12\r\n345")
        self.assertEqual(read_file(str(self.path), 3), b"12\r")

    def test_no_file(self) -> None:
        """A folder, a named pipe, and nothing at all are errors, at once."""
        self.assertRaises(FileNotFoundError, read_file, str(self.path), 1)
        self.assertRaises(OSError, read_file, str(self.folder), 1)
        os.mkfifo(self.path)
        error = self.assertRaises(OSError, read_file, str(self.path), 1)
        self.assertIn("not a regular file", str(error))

    def test_replace(self) -> None:
        """The content is the new one, with its mode, for its owner alone where none is given; nothing else is left."""
        for mode in (0o644, 0o600):
            replace_file(str(self.path), b"content", mode)
            self.assertEqual((self.path.read_bytes(), self.path.stat().st_mode & 0o777), (b"content", mode))
        replace_file(str(self.path), b"new")
        self.assertEqual((self.path.read_bytes(), self.path.stat().st_mode & 0o777), (b"new", 0o600))
        self.assertEqual(os.listdir(self.folder), ["file"])

    def test_relative(self) -> None:
        """A name alone is one in the current folder."""
        before = os.getcwd()
        self.addCleanup(os.chdir, before)
        os.chdir(self.folder)
        replace_file("file", b"content")
        self.assertEqual(os.listdir("."), ["file"])

    def test_fails(self) -> None:
        """What cannot be replaced stays as it is, and nothing is left beside it."""
        self.path.mkdir()
        self.assertRaises(OSError, replace_file, str(self.path), b"content")
        self.assertRaises(OSError, replace_file, str(self.folder / "missing" / "file"), b"content")
        self.assertRaises(TypeError, replace_file, str(self.folder / "other"), "text")
        self.assertEqual(os.listdir(self.folder), ["file"])

    def test_pipe(self) -> None:
        """A named pipe is not replaced; a link is, and what it named is not."""
        os.mkfifo(self.path)
        self.assertRaises(OSError, replace_file, str(self.path), b"content")
        self.assertTrue(self.path.is_fifo())
        link = self.folder / "link"
        link.symlink_to(self.path.name)
        replace_file(str(link), b"content")
        self.assertFalse(link.is_symlink())
        self.assertTrue(self.path.is_fifo())

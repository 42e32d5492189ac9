"""A path is what the engine's server makes of it."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from vespa.engines.paths import begins_with, decoded_path


class Paths(SynchronousTestCase):
    def test_decoded(self) -> None:
        """However a caller writes a path, it is the same path."""
        for target, path in (
            (b"/prompt", "/prompt"),
            (b"/prompt?a=/b", "/prompt"),
            (b"/%70rompt", "/prompt"),
            (b"//prompt", "/prompt"),
            (b"/x/../prompt/", "/prompt"),
            (b"/%2e%2e/prompt", "/prompt"),
            (b"http://host/prompt", "/prompt"),
            (b"http://host", "/"),
            (b"*", "/"),
            (b"", "/"),
            (b"/\xff%ff", "/\xff\ufffd"),
        ):
            self.assertEqual(decoded_path(target), path, target)

    def test_begins(self) -> None:
        """A path is below another at a slash only."""
        for path, expected in (("/view", True), ("/view/x", True), ("/viewer", False), ("/api/view", False)):
            self.assertEqual(begins_with(path, "/history", "/view"), expected, path)

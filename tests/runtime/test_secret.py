"""A secret's value is never shown."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from vespa.runtime.secret import hidden, secret_forms


class SecretTests(SynchronousTestCase):
    def test_forms(self) -> None:
        """A secret is the whole field value, and its last part where that is no placeholder; nothing is no secret."""
        self.assertEqual(secret_forms("Bearer abcdefgh"), ["Bearer abcdefgh", "abcdefgh"])
        self.assertEqual(secret_forms("Bearer x"), ["Bearer x"])
        self.assertEqual(secret_forms(""), [])

    def test_hidden(self) -> None:
        """A secret is hidden wherever it stands, and where a text was cut off within it; a few characters are shown."""
        forms = secret_forms("Bearer abcdefghijkl")
        for text, shown in (
            ("a Bearer abcdefghijkl, abcdefghijkl.", "a [hidden], [hidden]."),
            ("cut at abcdefgh", "cut at [hidden]"),
            ("cut at abcdefgh…", "cut at [hidden]…"),
            ("the word Bearer", "the word Bearer"),
            ("", ""),
        ):
            self.assertEqual(hidden(text, forms), shown)
        self.assertEqual(hidden("nothing to hide", []), "nothing to hide")

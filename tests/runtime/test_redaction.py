"""Laws of hiding secrets: by value everywhere, by name where callers send them, and nothing else."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from vespa.runtime.redaction import HIDDEN, Redaction


class RedactionTests(SynchronousTestCase):
    def test_values(self) -> None:
        """A secret is hidden wherever it stands, from when it is known."""
        redaction = Redaction("sesame-open")
        self.assertEqual(
            redaction.without_values("a sesame-open,sesame-open later-known"), f"a {HIDDEN},{HIDDEN} later-known"
        )
        redaction.hide("later-known")
        self.assertEqual(redaction.without_secrets("later-known?a=1"), f"{HIDDEN}?a=1")

    def test_short(self) -> None:
        """A short value is no secret: it would blot out half of a log."""
        self.assertEqual(Redaction("", "a", "abcde").without_secrets("abcde abc"), "abcde abc")

    def test_names(self) -> None:
        """The values of parameters and members that go by a secret's name are hidden. By value alone they are not."""
        redaction = Redaction()
        for text, clean in (
            ("/a?signature=S&b=2", f"/a?signature={HIDDEN}&b=2"),
            ('{"mtoken": "S"}', f'{{"mtoken": "{HIDDEN}"}}'),
            ("signature: does not match", "signature: does not match"),
        ):
            self.assertEqual(redaction.without_secrets(text), clean)
            self.assertEqual(redaction.without_values(text), text)

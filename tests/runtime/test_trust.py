"""Roots in PEM texts."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.unending import ends
from vespa.runtime.trust import roots_in


class RootsTests(SynchronousTestCase):
    def test_many_beginnings(self) -> None:
        """A text of beginnings without an end is read once, not once for each."""
        with ends(), self.assertRaises(ValueError):
            roots_in(b"-----BEGIN CERTIFICATE-----\n" * 1_000_000, "it")

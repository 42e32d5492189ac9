"""Roots in PEM texts."""

from __future__ import annotations

from time import process_time

from twisted.trial.unittest import SynchronousTestCase

from vespa.net.trust import roots_in


class RootsTests(SynchronousTestCase):
    def test_many_beginnings(self) -> None:
        """A text of beginnings without an end is read once, not once for each."""
        began = process_time()
        with self.assertRaises(ValueError):
            roots_in(b"-----BEGIN CERTIFICATE-----\n" * 40_000, "it")
        self.assertLess(process_time() - began, 0.2)

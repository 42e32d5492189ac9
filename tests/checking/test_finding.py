"""Tests of `vespa.checking.finding`."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from vespa.checking.finding import Finding, Findings, as_json, exit_code, failed, ok, skipped, summary, warning

OK = ok("port", "it can be opened", port=3000)
WARNING = warning("clock", "it is wrong", "set it")
FAILED = failed("backend", "it is down", "start it")
SKIPPED = skipped("health path", "not asked", "start the backend")


class FindingTests(SynchronousTestCase):
    def test_advice(self) -> None:
        """What is not right has advice, and what is right has none."""
        for state in ("warning", "failed", "skipped"):
            self.assertRaises(ValueError, Finding, state, "port", "why")
        self.assertRaises(ValueError, Finding, "ok", "port", "why", "advice")

    def test_exit_code(self) -> None:
        """Only failures fail; with `strict` warnings and what was skipped do too."""
        for found, code, strict in (
            ([OK], 0, 0),
            ([], 0, 0),
            ([OK, WARNING], 0, 1),
            ([OK, SKIPPED], 0, 1),
            ([OK, FAILED], 1, 1),
        ):
            parts = [Findings("client", []), Findings("worker", found)]
            self.assertEqual((exit_code(parts, strict=False), exit_code(parts, strict=True)), (code, strict), found)

    def test_summary(self) -> None:
        """The last line counts the states that occur, and what is right in any case."""
        self.assertEqual(
            summary([Findings("worker", [OK, WARNING, FAILED, SKIPPED, OK])]), "2 ok, 1 warning, 1 failed, 1 skipped"
        )
        self.assertEqual(summary([Findings("worker", [WARNING, WARNING])]), "0 ok, 2 warnings")

    def test_json(self) -> None:
        """Programs get every finding, with its details, and the report."""
        parts = [Findings("worker", [OK, FAILED], {"id": 7})]
        found = json.loads(json.dumps(as_json(parts, version="1.2", code=1)))
        self.assertEqual((found["vespa"], found["exit_code"]), ("1.2", 1))
        (part,) = found["parts"]
        self.assertEqual((part["part"], part["report"]), ("worker", {"id": 7}))
        right, wrong = part["findings"]
        self.assertEqual(right["details"], {"port": 3000})
        self.assertEqual(
            {**wrong, "details": {}},
            {
                "what": "backend",
                "state": "failed",
                "why": "it is down",
                "advice": "start it",
                "details": {},
            },
        )

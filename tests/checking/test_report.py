"""Tests of `vespa.checking.report`."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from vespa.checking.finding import Finding
from vespa.checking.report import MASKED, check_report
from vespa.config.worker import WorkerSettings

TOKEN = "token-of-the-worker"


class ReportTests(SynchronousTestCase):
    def check(self, problem: str = "", **more: Any) -> tuple[Finding, dict[str, Any] | None]:
        values = {
            "container_id": 7,
            "master_token": TOKEN,
            "public_ipaddr": "203.0.113.7",
            "public_port": 31000,
            **more,
        }
        (found,), report = check_report(WorkerSettings(**values), problem=problem, throughput=250.0, disk_usage=1.23)
        return found, report

    def test_report(self) -> None:
        """The report has the worker's identity, URL and kept figure, and not its token."""
        found, report = self.check()
        assert report is not None
        self.assertEqual(found.state, "ok")
        self.assertIn("to https://run.vast.ai/worker_status/ as worker 7", found.why)
        self.assertEqual((report["id"], report["mtoken"], report["max_perf"]), (7, MASKED, 250.0))
        self.assertEqual((report["url"], report["disk_usage"]), ("http://203.0.113.7:31000", 1.2))
        self.assertNotIn(TOKEN, str((found, report)))

    def test_error(self) -> None:
        """A worker that cannot start would report why, and no figure."""
        found, report = self.check("2 mistakes in the settings")
        assert report is not None
        self.assertEqual(
            (found.state, report["error_msg"], report["max_perf"]), ("failed", "2 mistakes in the settings", 0.0)
        )

    def test_unreachable(self) -> None:
        """A worker that listens on loopback only would report that, and the line says what to do."""
        found, report = self.check(unsecured=True)
        assert report is not None
        self.assertEqual(found.state, "failed")
        self.assertIn("where no client of the endpoint can reach it", found.why)
        self.assertIn("unset VESPA_UNSECURED", found.advice)
        self.assertIn("VESPA_UNSECURED", report["error_msg"])

    def test_none(self) -> None:
        """A worker without an identity reports nothing."""
        found, report = self.check(container_id=None)
        self.assertEqual((found.state, report), ("ok", None))

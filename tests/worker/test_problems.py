"""Tests of `vespa.worker.problems`. `tests.worker.test_status` has what a worker's parts make of them."""

from __future__ import annotations

from typing import Any, cast

from twisted.trial.unittest import SynchronousTestCase

from tests.worker.test_status import FakeCertificate
from vespa.accounting.fair_queue import FairQueue
from vespa.transport.certificates import WARN_SECONDS, Certificate
from vespa.worker.problems import Problem, certificate_problems, load_problems


class CertificateTests(SynchronousTestCase):
    def test_when(self) -> None:
        """It is an error from the moment of the expiry on, and a warning in the week before."""
        for left, severity in ((WARN_SECONDS + 1, ""), (WARN_SECONDS, "warning"), (0.5, "warning"), (0.0, "error")):
            certificate = cast(Certificate, FakeCertificate(ends=1000.0 + left))
            found = [problem.severity for problem in certificate_problems(certificate, 1000.0)]
            self.assertEqual(found, [severity] if severity else [], left)


class LoadTests(SynchronousTestCase):
    def test_no_limits(self) -> None:
        """Without a limit, or without a measured backend, no wait is too long."""
        unlimited: FairQueue[Any] = FairQueue(None, 0, 0)
        self.assertEqual(load_problems(unlimited, 1e9), [])
        limited: FairQueue[Any] = FairQueue(10.0, 0, 0)
        self.assertEqual(load_problems(limited, None), [])
        self.assertEqual(load_problems(limited, 10.0), [])
        (problem,) = load_problems(limited, 10.01)
        self.assertIsInstance(problem, Problem)
        self.assertEqual(problem.severity, "warning")

"""Which requests are good."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.loadtest.reports import outcome
from vespa.config.slo import SLO
from vespa.loadtest.goodput import is_good


class GoodputTests(SynchronousTestCase):
    def test_each_objective(self) -> None:
        """A request must keep every objective; the limit itself is kept."""
        streamed = outcome(0, 2.0, pieces=11)  # TTFT 1 s, TPOT 0.1 s
        for slo, good in (
            (SLO(), True),
            (SLO(ttft=1.0, tpot=0.1, e2e=2.0), True),
            (SLO(ttft=0.99), False),
            (SLO(tpot=0.099), False),
            (SLO(e2e=1.99), False),
            (SLO(ttft=1.0, tpot=0.1, e2e=1.99), False),
        ):
            self.assertEqual(is_good(streamed, slo), good, slo)

    def test_from_when_due(self) -> None:
        """Times count from when a request was due, not from when the tester could send it."""
        late = outcome(0, 2.0, pieces=11)
        late.sent = 0.9
        self.assertFalse(is_good(late, SLO(ttft=0.5)))

    def test_failed(self) -> None:
        """A failure is not good, however quick it was."""
        self.assertFalse(is_good(outcome(0, 0.1, "status", status=429), SLO(e2e=1.0)))

    def test_whole_response(self) -> None:
        """A response that is no stream has no time to a token, so it keeps no limit on that."""
        whole = outcome(0, 1.0, tokens=20)
        self.assertEqual(
            [is_good(whole, slo) for slo in (SLO(e2e=1.0), SLO(ttft=9), SLO(tpot=9))], [True, False, False]
        )

    def test_one_token(self) -> None:
        """A single token has no time per token, and so keeps any limit on it."""
        self.assertTrue(is_good(outcome(0, 1.0, pieces=1, tokens=1), SLO(ttft=1.0, tpot=0.001)))

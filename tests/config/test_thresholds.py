"""Texts of thresholds."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from vespa.config.thresholds import METRICS, QUANTILES, threshold


class ThresholdTests(SynchronousTestCase):
    def test_times(self) -> None:
        """A quantile alone is the latency's; a time without one means its p95."""
        for raw, metric, quantile, limit in (
            ("p99>2s", "e2e", "p99", 2.0),
            ("max > 1.5s", "e2e", "max", 1.5),
            ("e2e.mean>=200ms", "e2e", "mean", 0.2),
            ("ttft>500ms", "ttft", "p95", 0.5),
            ("tpot.p50>50ms", "tpot", "p50", 0.05),
            ("itl.max>900us", "itl", "max", 0.0009),
        ):
            found = threshold(raw)
            self.assertEqual(
                (found.metric, found.quantile, found.limit, found.unit), (metric, quantile, limit, "seconds")
            )
            self.assertEqual(found.text, raw)

    def test_numbers(self) -> None:
        """Errors and good requests are counted, or a share with %; the others are rates."""
        for raw, metric, limit, unit in (
            ("errors>1%", "errors", 0.01, "share"),
            ("errors>3", "errors", 3, "count"),
            ("throughput<10.5", "throughput", 10.5, "rate"),
            ("goodput<5", "goodput", 5, "rate"),
            ("goodput <= 95%", "goodput", 0.95, "share"),
            ("tokens<1000", "tokens", 1000, "rate"),
            ("input_tokens<1000", "input_tokens", 1000, "rate"),
        ):
            found = threshold(raw)
            self.assertEqual((found.metric, found.quantile, found.limit, found.unit), (metric, "", limit, unit))

    def test_operators(self) -> None:
        """The limit itself fails only with = in the operator."""
        for operator, below, at, above in (
            ("<", True, False, False),
            ("<=", True, True, False),
            (">", False, False, True),
            (">=", False, True, True),
        ):
            found = threshold(f"p50{operator}1s")
            self.assertEqual([found.exceeded(value) for value in (0.9, 1.0, 1.1)], [below, at, above], operator)

    def test_mistakes(self) -> None:
        """The error says what is wrong, what there is instead, and shows an example."""
        for raw, said in (
            ("", "must be a metric, < or >, and a limit, such as p99>2s"),
            ("p99", "must be a metric"),
            ("p99=2s", "must be a metric"),
            ("p99>", "must be a metric"),
            ("p98>2s", "p98 is not a metric: use p50, p90"),
            ("latency>2s", "latency is not a metric"),
            ("errors.p99>2", "errors.p99 is not a metric"),
            ("ttft.p98>2s", "p98 is not a quantile: use p50, p90, p95, p99, max, mean, as in ttft.p99"),
            ("ttft.>2s", "nothing is not a quantile"),
            ("p99>2", "2 is not a time: write a number and us, ms or s"),
            ("p99>2%", "2% is not a time"),
            ("errors>1s", "1s is not a limit for errors: write a number"),
            ("errors>-1", "-1 is not a limit for errors"),
            ("throughput<10%", "throughput has no share"),
        ):
            with self.assertRaises(ValueError) as raised:
                threshold(raw)
            self.assertIn(said, str(raised.exception), raw)

    def test_all_metrics(self) -> None:
        """Each metric that an error names can be used."""
        for name in QUANTILES:
            threshold(f"{name}>1s")
        for name in METRICS:
            threshold(f"{name}>1s" if name in ("e2e", "ttft", "tpot", "itl") else f"{name}>1")

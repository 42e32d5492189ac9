from __future__ import annotations

from prometheus_client.samples import Sample
from twisted.trial.unittest import SynchronousTestCase

from vespa.observability.histogram import Exemplar
from vespa.observability.metric import Description, Value, counter, gauge, histogram


def samples(metric: Description, value: Value) -> list[tuple[str, dict[str, str], float]]:
    """The family's samples, without what most of them do not have."""
    return [(each.name, each.labels, each.value) for each in metric.family(value).samples]


class FamilyTests(SynchronousTestCase):
    def test_plain(self) -> None:
        """A number without labels is one sample; None is none, though the metric is still described."""
        self.assertEqual(samples(gauge("vespa_ready", "Text."), 1), [("vespa_ready", {}, 1)])
        self.assertEqual(samples(counter("vespa_retries_total", "Text."), 0), [("vespa_retries_total", {}, 0)])
        family = gauge("vespa_certificate_expiry_timestamp_seconds", "Text.").family(None)
        self.assertEqual((family.samples, family.documentation), ([], "Text."))

    def test_labels(self) -> None:
        """A mapping has a sample for each value of the label, or of the labels together."""
        self.assertEqual(
            samples(counter("vespa_bytes_total", "Text.", "direction"), {"in": 1, "out": 2}),
            [("vespa_bytes_total", {"direction": "in"}, 1.0), ("vespa_bytes_total", {"direction": "out"}, 2.0)],
        )
        self.assertEqual(
            samples(counter("vespa_x_total", "Text.", "a", "b"), {("1", "2"): 3}),
            [("vespa_x_total", {"a": "1", "b": "2"}, 3.0)],
        )

    def test_info(self) -> None:
        """An info is 1, with its value as labels."""
        info = Description("vespa_build_info", "info", "Text.")
        self.assertEqual(samples(info, {"version": "1.2"}), [("vespa_build_info", {"version": "1.2"}, 1)])

    def test_histogram(self) -> None:
        """A histogram has a cumulative count for each bound, the count, the sum, and its exemplars."""
        metric = histogram("vespa_x_seconds", "Text.", (0.5, 1))
        values = metric.histogram()
        values.add_sorted([0.25, 0.75, 3.0])
        values.note(Exemplar(0.75, "abc", 12.5))
        family = metric.family(values)
        self.assertEqual(
            samples(metric, values),
            [
                ("vespa_x_seconds_bucket", {"le": "0.5"}, 1),
                ("vespa_x_seconds_bucket", {"le": "1.0"}, 2),
                ("vespa_x_seconds_bucket", {"le": "+Inf"}, 3),
                ("vespa_x_seconds_count", {}, 3),
                ("vespa_x_seconds_sum", {}, 4.0),
            ],
        )
        noted: list[Sample] = [each for each in family.samples if each.exemplar]
        ((sample, exemplar),) = [(each, each.exemplar) for each in noted]
        assert exemplar is not None
        self.assertEqual(sample.labels, {"le": "1.0"})
        self.assertEqual((exemplar.labels, exemplar.value, exemplar.timestamp), ({"trace_id": "abc"}, 0.75, 12.5))

    def test_unit(self) -> None:
        """OpenMetrics is told the base unit that the name ends with."""
        for metric, unit in (
            (gauge("vespa_held_bytes", "Text."), "bytes"),
            (counter("vespa_bytes_total", "Text."), "bytes"),
            (histogram("vespa_x_seconds", "Text.", (1,)), "seconds"),
            (gauge("vespa_ready", "Text."), ""),
        ):
            value = metric.histogram() if metric.kind == "histogram" else 1
            self.assertEqual(metric.family(value).unit, unit)

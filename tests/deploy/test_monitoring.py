"""Prometheus' configuration, the alerts and the dashboard: valid, of metrics that exist, and the alerts tested."""

from __future__ import annotations

import json
import re

from twisted.trial.unittest import SynchronousTestCase

from tests.deploy.dashboard import (
    PROMETHEUS,
    RULES,
    dashboard,
    dashboard_queries,
    filled,
    label_values,
    metric_names,
    panels,
    rules,
)
from tests.deploy.files import ROOT, documents
from tests.observability.metered import WorkerInMemory, idle_client, names
from tests.promtool import promtool
from vespa.observability.request_metrics import ORIGINS
from vespa.protocol.error_codes import CLIENT_CODES, WORKER_CODES

CASES = ROOT / "tests" / "deploy" / "alerts.yml"
PROCESS = {
    "process_cpu_seconds_total",
    "process_resident_memory_bytes",
    "process_open_fds",
    "process_max_fds",
    "process_start_time_seconds",
}
KNOWN = names(WorkerInMemory().metrics.descriptions) | names(idle_client().descriptions) | PROCESS
CODES = frozenset(code for table in (WORKER_CODES, CLIENT_CODES) for code in table)
UNITS = frozenset(("s", "short", "percentunit", "reqps", "ops", "Bps", "bytes"))
"""The units of Grafana that panels have: with `short` a number without a unit, such as a unit of cost."""


class PromtoolTests(SynchronousTestCase):
    """What Prometheus' own program says."""

    slow = True

    def test_valid(self) -> None:
        """promtool finds nothing wrong with the configuration and the rules."""
        self.assertIn("SUCCESS", promtool("check", "config", str(PROMETHEUS / "prometheus.yml")))
        self.assertIn("SUCCESS", promtool("check", "rules", str(RULES)))

    def test_cases(self) -> None:
        """Each alert fires when it should, with its text, and is silent otherwise (alerts.yml)."""
        self.assertIn("SUCCESS", promtool("test", "rules", str(CASES)))

    def test_dashboard(self) -> None:
        """promtool parses each query, as the expression of a rule."""
        recorded = [{"record": f"q{number}", "expr": query} for number, (_, query) in enumerate(dashboard_queries())]
        path = self.mktemp()
        with open(path, "w") as file:
            json.dump({"groups": [{"name": "dashboard", "rules": recorded}]}, file)  # JSON is YAML
        self.assertIn(f"SUCCESS: {len(recorded)} rules found", promtool("check", "rules", path))

    def test_wrong_query_is_found(self) -> None:
        """A query that does not parse is an error."""
        path = self.mktemp()
        with open(path, "w") as file:
            json.dump({"groups": [{"name": "x", "rules": [{"record": "q", "expr": "sum(("}]}]}, file)
        self.assertRaises(AssertionError, promtool, "check", "rules", path)


class RuleTests(SynchronousTestCase):
    def test_every_alert_has_cases(self) -> None:
        """Each alert has a case in which it fires, and one in which it does not."""
        alerts = sorted(rule["alert"] for rule in rules())
        (document,) = documents(CASES)
        cases = [case for test in document["tests"] for case in test["alert_rule_test"]]
        self.assertEqual(sorted(case["alertname"] for case in cases if case.get("exp_alerts")), alerts)
        self.assertEqual(sorted(case["alertname"] for case in cases if not case.get("exp_alerts")), alerts)

    def test_names(self) -> None:
        """The rules use metrics that exist; each alert says how bad it is, what has happened, and what to do."""
        for rule in rules():
            name = rule["alert"]
            self.assertEqual(metric_names(rule["expr"]) - KNOWN, set(), name)
            self.assertIn(rule["labels"]["severity"], ("warning", "critical"), name)
            self.assertEqual(sorted(rule["annotations"]), ["description", "summary"], name)
            self.assertIn("{{ $labels.instance }}", rule["annotations"]["summary"], name)

    def test_guide(self) -> None:
        """docs/metrics.md explains each alert."""
        guide = (ROOT / "docs" / "metrics.md").read_text("utf-8")
        self.assertEqual(sorted(re.findall(r"\bVespa[A-Z]\w+", guide)), sorted(rule["alert"] for rule in rules()))


class LabelTests(SynchronousTestCase):
    def test_values(self) -> None:
        """Queries compare labels with values that occur: a word that is spelled wrong would match nothing, silently."""
        texts = [metrics.render()[1].decode() for metrics in (WorkerInMemory().metrics, idle_client())]
        known = {
            *label_values("".join(texts)),
            *(("code", code) for code in CODES),
            *(("origin", origin) for origin in ORIGINS),
        }
        queries = [*(rule["expr"] for rule in rules()), *(query for _, query in dashboard_queries())]
        used = {pair for query in queries for pair in label_values(query)}
        self.assertGreater(len(used), 15)
        self.assertEqual(used - known, set())


class DashboardTests(SynchronousTestCase):
    def test_names(self) -> None:
        """Its queries use metrics that exist."""
        for title, query in dashboard_queries():
            self.assertNotEqual(metric_names(query), set(), title)
            self.assertEqual(metric_names(query) - KNOWN, set(), title)

    def test_selectors(self) -> None:
        """Each metric of a query is limited to the chosen jobs and instances."""
        for panel in panels():
            for target in panel["targets"]:
                query = target["expr"]
                limited = query.count('job=~"$job",instance=~"$instance"')
                self.assertEqual(limited, len(re.findall(r"\b(?:vespa|process)_\w+(?=\{)", query)), panel["title"])
                self.assertNotIn("$", filled(query).replace("$__", ""), panel["title"])

    def test_rows(self) -> None:
        """It has a row for each question, in the order in which an operator asks."""
        rows = [panel["title"] for panel in dashboard()["panels"] if panel["type"] == "row"]
        self.assertEqual(rows, ["Overview", "Latency", "Backend", "Autoscaler", "Client", "Process"])
        variables = [variable["name"] for variable in dashboard()["templating"]["list"]]
        self.assertEqual(variables, ["datasource", "job", "instance"])

    def test_panels(self) -> None:
        """Each panel has a number of its own, an explanation, a unit, and a place that no other covers."""
        found = list(panels())
        self.assertEqual(len({panel["id"] for panel in dashboard()["panels"]}), len(dashboard()["panels"]))
        self.assertEqual(len({panel["title"] for panel in found}), len(found))
        taken: set[tuple[int, int]] = set()
        for panel in dashboard()["panels"]:
            place = panel["gridPos"]
            cells = {
                (x, y)
                for x in range(place["x"], place["x"] + place["w"])
                for y in range(place["y"], place["y"] + place["h"])
            }
            self.assertLessEqual(max(x for x, _ in cells), 23, panel["title"])
            self.assertEqual(taken & cells, set(), panel["title"])
            taken |= cells
        for panel in found:
            self.assertTrue(panel["description"], panel["title"])
            if panel["type"] in ("timeseries", "stat"):
                self.assertIn(panel["fieldConfig"]["defaults"]["unit"], UNITS, panel["title"])

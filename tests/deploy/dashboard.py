"""The dashboard and the alert rules, as tests read them: their queries, and the names of metrics in them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from tests.deploy.files import DEPLOY, documents

PROMETHEUS = DEPLOY / "prometheus"
RULES = PROMETHEUS / "rules.yml"
DASHBOARD = DEPLOY / "grafana" / "dashboard.json"

VARIABLES = {"$__rate_interval": "1m", "$job": ".*", "$instance": ".*"}
"""What Grafana would put into a query."""


def rules() -> list[dict[str, Any]]:
    """The alert rules."""
    (document,) = documents(RULES)
    return [rule for group in document["groups"] for rule in group["rules"]]


def dashboard() -> dict[str, Any]:
    """The dashboard."""
    document: dict[str, Any] = json.loads(DASHBOARD.read_text("utf-8"))
    return document


def panels() -> Iterator[dict[str, Any]]:
    """Its panels, without the rows that part them."""
    yield from (panel for panel in dashboard()["panels"] if panel["type"] != "row")


def dashboard_queries() -> list[tuple[str, str]]:
    """The title of a panel and each of its queries, with its variables filled in."""
    return [(panel["title"], filled(target["expr"])) for panel in panels() for target in panel["targets"]]


def filled(query: str) -> str:
    """A query as Grafana sends it."""
    for name, value in VARIABLES.items():
        query = query.replace(name, value)
    return query


def metric_names(query: str) -> set[str]:
    """The names of Vespa's and the process's metrics in a query."""
    return set(re.findall(r"\b(?:vespa|process)_\w+", re.sub(r'"[^"]*"', '""', query)))


def label_values(query: str) -> Iterator[tuple[str, str]]:
    """The labels in a query, each with a value that it is compared with; without `job`, `instance` and `le`."""
    for name, values in re.findall(r'(\w+)(?:=~|!~|!=|=)"([^"]*)"', query):
        if name not in ("job", "instance", "le"):
            yield from ((name, value) for value in values.split("|"))

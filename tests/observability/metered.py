"""A worker and a client in memory with their metrics, and how tests read these."""

from __future__ import annotations

from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any, cast

from prometheus_client.parser import text_string_to_metric_families
from twisted.internet.task import Clock

from tests.client.rig import ClientRig
from tests.rig import Rig
from vespa.client.metrics import ClientSources, client_metrics
from vespa.observability.ended_requests import EndedRequests
from vespa.observability.metric import Description
from vespa.observability.metrics import Metrics
from vespa.observability.proxy_metrics import LOOP_LAG, ProxyParts
from vespa.worker.keyring import Keyring
from vespa.worker.metrics import WorkerSources, worker_metrics
from vespa.worker.optional_parts import OptionalParts
from vespa.worker.readiness.monitor import ReadinessMonitor
from vespa.worker.reporter import Reporter
from vespa.worker.usage.meter import UsageMeter
from vespa.worker.usage.recalibration import Recalibration


class WorkerInMemory:
    """A worker whose backend the test plays, with its metrics. What it has no part of is a plain value."""

    def __init__(self, **options: Any) -> None:
        self.clock = Clock()
        self.clock.advance(1_700_000_000.0)
        self.ended = EndedRequests(self.clock)
        self.rig = Rig(observer=self.ended, clock=self.clock, **{"max_sessions": 10, **options})
        self.readiness = SimpleNamespace(state="ready", condition=lambda: SimpleNamespace(loadtime=12.5))
        self.keyring = SimpleNamespace(bad_signatures=0, without_key=0, has_key=True)
        self.reporter = SimpleNamespace(
            reports_delivered=7, reports_failed=2, deletes_delivered=5, deletes_failed=1, undelivered_since=None
        )
        self.certificate: Any = SimpleNamespace(ends=1_800_000_000.0)
        self.usage: UsageMeter | None = None
        self.recalibration: Recalibration | None = None
        self.metrics = self.make_metrics(self.reporter, self.keyring)

    def make_metrics(self, reporter: Any, keyring: Any) -> Metrics:
        """Metrics with another reporter or keyring, or without them."""
        rig = self.rig
        affinity = rig.backends.affinity if rig.backends is not None else None
        return worker_metrics(
            WorkerSources(
                admission=rig.app.admission,
                readiness=cast(ReadinessMonitor, self.readiness),
                keyring=cast(Keyring, keyring),
                reporter=cast(Reporter, reporter),
                certificate=self.certificate,
                seconds=self.clock.seconds,
                optional=OptionalParts(
                    sessions=rig.sessions, usage=self.usage, recalibration=self.recalibration, affinity=affinity
                ),
            ),
            ProxyParts(
                gate=rig.gate,
                server=rig.server,
                tunnels=rig.proxy.tunnels,
                ready=lambda: rig.unready is None,
                lag=LOOP_LAG.histogram(),
                pools=lambda: [rig.pool],
                pool_limit=0,
                pool_counts=rig.pool.counts,
            ),
            self.ended,
        )

    def scrape(self) -> dict[str, float]:
        """Every sample by its name and its labels, as in a query."""
        return samples(self.metrics)


def samples(metrics: Metrics) -> dict[str, float]:
    """Every sample of a scrape by its name and its labels, as in a query."""
    found = {}
    for family in text_string_to_metric_families(metrics.render()[1].decode()):
        for sample in family.samples:
            labels = ",".join(f'{name}="{value}"' for name, value in sorted(sample.labels.items()))
            found[sample.name + (f"{{{labels}}}" if labels else "")] = sample.value
    return found


def requests(outcome: str, code: str = "", origin: str = "") -> str:
    return f'vespa_requests_total{{code="{code}",origin="{origin}",outcome="{outcome}"}}'


def metrics_of(rig: ClientRig, ended: EndedRequests) -> Metrics:
    """The metrics of a client in memory."""
    return client_metrics(
        ClientSources(
            autoscaler=rig.autoscaler,
            selector=rig.app.selector,
            workers=rig.known,
            sessions=rig.app.sessions,
            jobs=rig.app.jobs,
            seconds=rig.reactor.seconds,
        ),
        ProxyParts(
            gate=rig.gate,
            server=rig.server,
            tunnels=rig.proxy.tunnels,
            ready=lambda: True,
            lag=LOOP_LAG.histogram(),
            pools=rig.known.pools,
            pool_limit=rig.known.connections,
            pool_counts=rig.known.counts,
        ),
        ended,
    )


def idle_client() -> Metrics:
    """The metrics of a client in memory that has done nothing."""
    rig = ClientRig()
    return metrics_of(rig, EndedRequests(rig.reactor))


def names(metrics: Iterable[Description]) -> set[str]:
    """Every name of a sample that a query may have."""
    ends = {"histogram": ("_bucket", "_count", "_sum")}
    return {metric.name + end for metric in metrics for end in ends.get(metric.kind, ("",))}

"""The table of workers."""

from __future__ import annotations

import io
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from tests.client.command.test_choosing import drawn
from vespa.client.command.worker_table import say_workers, worker_table
from vespa.client.console import EndpointInfo
from vespa.client.endpoint_workers import WorkerInfo, WorkersUnavailable
from vespa.runtime.terminal import Terminal


class FakeWorkers:
    """Has workers for one endpoint, none for another, and fails for the rest."""

    async def of(self, endpoint: int, account_key: str) -> list[WorkerInfo]:
        assert account_key == "k"
        if endpoint == 1:
            return [WorkerInfo(id="31", status="ready", load=1234.5), WorkerInfo(id="32", status="[red]x[/red]")]
        if endpoint == 2:
            return []
        raise WorkersUnavailable("the autoscaler lists no workers: not ready")


class TableTests(SynchronousTestCase):
    def said(self, *ids: int) -> str:
        out: list[Any] = []
        workers: Any = FakeWorkers()
        rows = [EndpointInfo(id=each, name=f"name-{each}", api_key="") for each in ids]
        self.successResultOf(Deferred.fromCoroutine(say_workers(workers, "k", rows, out.append)))
        return "".join(drawn(each) for each in out)

    def test_all(self) -> None:
        """Workers are in one table; what is missing is told for each endpoint."""
        lines = [line.rstrip() for line in self.said(3, 1, 2).splitlines()]
        self.assertEqual(lines[0], "")
        self.assertTrue(lines[1].startswith("endpoint  worker  status"), lines)
        self.assertEqual(lines[2].split(), ["name-1", "31", "ready", "-", "1234", *"----"])
        self.assertIn("[red]x[/red]", lines[3])
        self.assertEqual(lines[4:], ["name-3: the autoscaler lists no workers: not ready", "name-2: no workers"])

    def test_no_endpoints(self) -> None:
        """Without endpoints nothing is said."""
        self.assertEqual(self.said(), "")

    def test_narrow(self) -> None:
        """On a narrow terminal, names stay whole."""
        stream = io.StringIO()
        table = worker_table([("q" * 30, WorkerInfo(id="31", status="ready"))])
        Terminal(stream, {"NO_COLOR": "1"}, width=60).print(table)
        self.assertEqual(stream.getvalue().count("q"), 31)  # one is in a heading

"""Laws of a running worker's log: every line is JSON if it should be, and its level changes by a signal."""

from __future__ import annotations

import json
import os
import signal
from typing import Any

from tests.processes import until
from tests.system.case import SystemCase
from vespa.simulator.child import Child


def parsed(worker: Child) -> list[dict[str, Any]]:
    """Every line of a log. Raises ValueError for a line that is no JSON."""
    return [json.loads(line) for line in worker.lines]


class JSONLogTests(SystemCase):
    async def test_every_line(self) -> None:
        """From the first line to the last, Twisted's own included, the log is JSON, with the same keys."""
        worker = await self.start_worker(VESPA_LOG_FORMAT="json", VESPA_LOG_LEVEL="debug")
        await self.end_well(worker)
        lines = parsed(worker)
        self.assertIn("log as json", lines[0]["message"])
        self.assertIn("twisted", {line["namespace"].partition(".")[0] for line in lines})
        for line in lines:
            self.assertEqual(list(line), ["time", "level", "namespace", "message"], line)
            self.assertRegex(line["time"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")

    async def test_signal(self) -> None:
        """SIGUSR2 turns debug on, and a second one turns it off."""
        worker = await self.start_worker(VESPA_LOG_FORMAT="json")
        self.assertNotIn('"level": "debug"', worker.text)
        for level in ("debug", "info"):
            assert worker.pid is not None
            os.kill(worker.pid, signal.SIGUSR2)
            await self.until_line(worker, f"SIGUSR2: the log's level is {level} from now on")
        await self.end_well(worker)

    async def test_on_vast(self) -> None:
        """A rented machine, whose console shows the log as it is, has text by default; other pipes have JSON."""
        cases: list[tuple[dict[str, str], str]] = [({}, "20"), ({"CONTAINER_ID": ""}, '{"time": "20')]
        await self.start_around()
        for machine, begins in cases:
            settings = self.settings(VESPA_LOG_FORMAT="auto", VESPA_UNSECURED="true", **machine)
            worker = self.twistd(settings, folder=self.folder)
            await until(lambda worker=worker: worker.lines, what="the first line")
            self.assertTrue(worker.lines[0].startswith(begins), worker.text)
            await self.end(worker)

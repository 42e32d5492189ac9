"""A worker with few descriptors, and more connections than it has of them."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from unittest import SkipTest

from twisted.internet import reactor
from twisted.internet.task import deferLater

from tests.system.case import SystemCase
from tests.system.peer import request
from vespa.simulator.child import Child
from vespa.simulator.launch import worker_command

DESCRIPTORS = 256
FLOOD = 300
CALLS = 40


class FewDescriptors(SystemCase):
    """`ulimit -n 256`, soft and hard."""

    def twistd(self, settings: Mapping[str, str], *arguments: str, folder: str | None = None) -> Child:
        if sys.platform == "win32":
            raise SkipTest("needs ulimit")
        command = ["/bin/sh", "-c", f'ulimit -n {DESCRIPTORS} && exec "$@"', "sh", *worker_command(*arguments)]
        return self.start(command, settings, folder=folder or self.temporary_folder())

    async def until_taken_in(self) -> None:
        """
        Return when the worker has accepted the flood.

        On a busy machine it accepts hundreds of connections in one turn, and refuses more than it can close in that.
        """
        for _ in range(200):
            peer = await self.connect()
            peer.send(request("GET", "/ping"))
            answer = await peer.answer()
            peer.leave()
            if answer.status == 200:
                return
            await deferLater(reactor, 0.05)
        self.fail("no caller was served for ten seconds")

    async def test_flood(self) -> None:
        """
        While 300 connections are silent good callers are served, the backend is probed and reports are sent.

        The worker takes 96 of them, says so at its start, and closes silent ones for callers.
        """
        worker = await self.start_worker(VESPA_HEALTHCHECK_POLL_INTERVAL="0.2")
        limit = "Vespa accepts 96 connections at once, not 10000: the system allows 256 open files"
        await self.until_line(worker, limit)
        for _ in range(FLOOD):
            await self.connect()
        await self.until_taken_in()
        reports = len(self.reports)
        for _ in range(CALLS):
            peer, _ = await self.call("/echo", b'"good"')
            answer = await peer.answer()
            self.assertEqual((answer.status, bytes(answer.body)), (200, b'"good"'))
            peer.leave()
            await deferLater(reactor, 0.02)
        await self.told(worker, Success=CALLS)
        self.assertTrue(len(self.reports) > reports)
        self.assertEqual([report.error_msg for report in self.reports if report.error_msg], [])
        self.assertNotIn("Too many open files", worker.text)
        await self.end_well(worker)

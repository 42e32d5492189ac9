"""Browsers at a real client."""

from __future__ import annotations

from typing import Any

from tests.e2e.callers import CallerCase
from tests.processes import until
from tests.proxy.browsers import browser_requests, program_requests


class BrowserTests(CallerCase):
    async def test_refused(self) -> None:
        """What a foreign page makes a browser send gets 403, without leave to read it, and costs nothing."""
        deployment = self.deployment()
        await deployment.start_autoscaler()
        client = await deployment.start_client()
        port = int(client.url.rsplit(":", 1)[1])
        requests = browser_requests(port)
        self.assertGreaterEqual(len(requests), 30)
        for asked in requests:
            wire: Any = await self.connect(client)
            wire.transport.write(asked.data)
            code = f'"{asked.code}"'.encode()
            await until(lambda wire=wire, code=code: code in wire.received, 10, asked.name)
            self.assertTrue(wire.received.startswith(b"HTTP/1.1 403 "), asked.name)
            self.assertNotIn(b"access-control-", bytes(wire.received).lower(), asked.name)
            wire.transport.abortConnection()
            await wire.lost
        self.assertEqual(list(deployment.autoscaler.routes), [], "the autoscaler was never asked")
        wire = await self.connect(client)
        wire.transport.write(program_requests(port)[0].data)
        await until(lambda: deployment.autoscaler.routes, 10, "a program's request is taken")
        wire.transport.abortConnection()
        await wire.lost
        self.assert_clean(deployment)

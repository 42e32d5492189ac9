"""What calls a client proxy: SDKs, as processes of the end-to-end Pythons, and raw connections."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from twisted.internet import reactor
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol

from tests.e2e.clients import CLIENT_SECONDS, ServiceCase
from tests.processes import until
from tests.simulator_support.deployment import ControlledDeployment
from tests.simulator_support.wire import Wire
from vespa.simulator.child import Child, ClientChild, WorkerChild

Result = dict[str, Any]


class CallerCase(ServiceCase):
    """A test of callers before a client proxy, which speaks TLS with real workers."""

    async def start_chain(
        self,
        *,
        backend_url: str | None = None,
        workers: int = 1,
        settings: Mapping[str, str] | None = None,
        **options: Any,
    ) -> tuple[ControlledDeployment, ClientChild]:
        """Start autoscaler, workers and a client; before the simulator's own backend, unless another is given.

        `settings` are the workers', `options` the client's.
        """
        deployment = self.deployment()
        await deployment.start_autoscaler()
        await deployment.start_backend()
        deployment.backend.tokens_per_second = 500.0
        if backend_url is not None:
            deployment.backend_url = backend_url
        await self.start_workers(deployment, workers, tls=True, **(settings or {}))
        return deployment, await deployment.start_client(**options)

    def call(self, name: str, urls: Sequence[str], *requests: Mapping[str, Any], python: str = "") -> Child:
        """Start a script with a job; see job.py."""
        job = {"urls": list(urls), "requests": list(requests)}
        return self.script(name, stdin=json.dumps(job).encode("utf-8"), python=python)

    async def results(self, child: Child) -> list[Result]:
        """What a script's job came to."""
        code = await self.until_exit(child, CLIENT_SECONDS)
        self.assertEqual(code, 0, child.text)
        return [json.loads(line) for line in child.lines if line.startswith("{")]

    async def compare(
        self, name: str, straight: str, client: ClientChild, *requests: Mapping[str, Any], python: str = ""
    ) -> list[Result]:
        """The results of a job through the client, which must be those of the same job straight at the backend."""
        results = await self.results(self.call(name, [straight, client.url], *requests, python=python))
        self.assertEqual(len(results), 2 * len(requests), results)
        self.assertEqual(results[len(requests) :], results[: len(requests)], client.text)
        return results[len(requests) :]

    async def balanced(self, deployment: ControlledDeployment, *, lost: int = 0) -> dict[int, list[int]]:
        """Wait until the totals are settled, and return which worker told each request finished.

        Every request that was assigned is told finished once, but so many; what workers received is what they served,
        failed, cancelled and still have; nothing is in flight; no report was malformed.
        """
        autoscaler = deployment.autoscaler
        totals = autoscaler.totals

        def heard() -> list[Any]:
            return [totals.of(worker.id) for worker in deployment.workers if worker.exit_code is None]

        def settled() -> bool:
            return (
                len(totals.finished()) >= len(totals.costs) - lost
                and all(
                    not worker_totals.in_flight and not worker_totals.working_request_idxs for worker_totals in heard()
                )
                and all(worker_totals.balance(totals.costs).adds_up for worker_totals in heard())
            )

        try:
            await until(settled, 20.0, "settled")
        except AssertionError as error:
            logs = "\n".join(child.text for child in (*deployment.workers, *deployment.clients))
            raise AssertionError(f"{error}: {json.dumps(autoscaler.ledger())}\n{logs}") from error
        finished = totals.finished()
        self.assertEqual([str(each) for each in autoscaler.malformed], [])
        self.assertEqual(totals.twice(), [], "each request is deleted once")
        self.assertLessEqual(set(finished), set(totals.costs), "nothing is deleted that was not assigned")
        self.assertEqual(len(totals.costs) - len(finished), lost)
        return finished

    def assert_clean(self, deployment: ControlledDeployment) -> None:
        """Nothing went wrong in a process that is still there, and none of them said a key."""
        for child in (*deployment.workers, *deployment.clients):
            if child.exit_code is None:
                self.assert_clean_log(child)
            for key in (deployment.autoscaler.endpoint_key, deployment.autoscaler.account_key):
                self.assertNotIn(key, child.text)

    def assigned(self, deployment: ControlledDeployment) -> WorkerChild:
        """The worker that the autoscaler named last."""
        return next(worker for worker in deployment.workers if worker.url == deployment.autoscaler.routes[-1].url)

    async def connect(self, client: ClientChild) -> Wire:
        """A connection to the client."""
        port = int(client.url.rsplit(":", 1)[1])
        wire: Wire = await connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", port), Wire())
        return wire

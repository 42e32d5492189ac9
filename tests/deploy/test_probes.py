"""Laws of what the manifests for Kubernetes start: the kubelet's probes and Prometheus get what they ask for."""

from __future__ import annotations

import socket
from typing import Any

from tests.contract.reader import Response
from tests.deploy.files import DEPLOY, TOKEN, documents
from tests.deploy.settings import METRICS
from tests.system.case import BENCHMARK, SystemCase
from tests.system.peer import connect, way
from vespa.simulator.child import Child
from vespa.simulator.launch import client_command, free_port

OF_POD = "10.1.2.3"
"""The kubelet and Prometheus name a pod by its address."""


def container(path: str, name: str) -> dict[str, Any]:
    """One of our containers in a manifest."""
    for document in documents(DEPLOY / "kubernetes" / path):
        for each in document["spec"].get("template", {}).get("spec", {}).get("containers", []):
            if each["name"] == name:
                return dict(each)
    raise LookupError(name)


class ProbeCase(SystemCase):
    def setUp(self) -> None:
        super().setUp()
        self.admin_port = free_port()

    def environment(self, found: dict[str, Any]) -> dict[str, str]:
        """A container's variables, with a token in the place of secrets, and a free admin port."""
        given = {each["name"]: each.get("value", TOKEN) for each in found["env"]}
        (listen,) = [name for name in given if name.endswith("ADMIN_LISTEN")]
        self.assertNotIn("interface", given[listen])  # it listens on the pod's address
        return {**given, listen: f"tcp:{self.admin_port}"}

    async def probe(self, found: dict[str, Any], kind: str) -> Response:
        """The response to a probe of the kubelet, as the manifest says."""
        return await self.ask_admin(found[kind]["httpGet"]["path"], "User-Agent: kube-probe/1.33", "Connection: close")

    async def ask_admin(self, path: str, *lines: str) -> Response:
        peer = await connect(way(self.admin_port))
        self.addCleanup(self._cut, peer)
        head = [f"GET {path} HTTP/1.1", f"Host: {OF_POD}:9464", "Accept: */*", *lines, "", ""]
        peer.send("\r\n".join(head).encode())
        return await peer.answer()

    async def holds_admin(self, child: Child) -> None:
        await self.until_worker(child, lambda: opens(self.admin_port), "the admin port")


def opens(port: int) -> bool:
    """Whether somebody listens there."""
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0


class WorkerProbeTests(ProbeCase):
    async def test_probes(self) -> None:
        """While it loads a pod is alive and not ready; then it is ready; when its backend fails it is alive only."""
        await self.start_backend()
        self.backend.healthy = False
        self.port = free_port()
        found = container("worker.yaml", "vespa")
        worker = self.twistd(
            {
                **self.environment(found),
                "VESPA_BACKEND_URL": self.backend_url,
                "VESPA_BENCHMARK": BENCHMARK,
                "VESPA_BENCHMARK_CACHE_FILE": f"{self.folder}/benchmark.json",
                "VESPA_WORKER_PORT": str(self.port),
                "VESPA_HEALTHCHECK_RETRY_INTERVAL": "0.1",
                "VESPA_HEALTHCHECK_POLL_INTERVAL": "0.1",
            },
            folder=self.folder,
        )
        await self.holds_admin(worker)
        self.assertEqual((await self.probe(found, "livenessProbe")).status, 200)
        loading = await self.probe(found, "readinessProbe")
        self.assertEqual(loading.status, 503)
        self.assertNotIn(b"503", bytes(loading.body))  # the reason is for those who have the token
        self.backend.healthy = True
        await self.until_line(worker, "the worker is ready")
        self.assertEqual((await self.probe(found, "readinessProbe")).status, 200)
        self.backend.healthy = False
        await self.until_line(worker, "the worker is errored")
        self.assertEqual((await self.probe(found, "readinessProbe")).status, 503)
        self.assertEqual((await self.probe(found, "livenessProbe")).status, 200)

        for path in ("/metrics", "/status.json"):
            self.assertEqual((await self.ask_admin(path)).status, 401)
            self.assertEqual((await self.ask_admin(path, f"Authorization: Bearer {TOKEN}")).status, 200)
        metrics = bytes((await self.ask_admin("/metrics", f"Authorization: Bearer {TOKEN}")).body).decode()
        there = {line.split("{")[0].split(" ")[0] for line in metrics.splitlines() if line[:1] != "#"}
        self.assertLessEqual(METRICS, there)  # by which the pods are scaled
        await self.end_well(worker)


class ClientProbeTests(ProbeCase):
    async def test_probes(self) -> None:
        """The client is alive and ready, and callers reach it by the names of its service, with the token alone."""
        found = container("client.yaml", "vespa-client")
        command, *arguments = found["args"]
        self.assertEqual(command, "client")
        self.port = free_port()
        client = self.start(
            client_command(*arguments, f"--port={self.port}", "--autoscaler-url=http://127.0.0.1:9"),
            self.environment(found),
            folder=self.folder,
        )
        await self.holds_admin(client)
        await self.until_line(client, "ready: ")
        for kind in ("livenessProbe", "readinessProbe"):
            self.assertEqual((await self.probe(found, kind)).status, 200, kind)
        for name, status in (("vespa-client", 401), ("vespa-client.default.svc.cluster.local", 401), ("evil", 403)):
            peer = await self.connect()
            peer.send(f"GET /v1/models HTTP/1.1\r\nHost: {name}:8010\r\n\r\n".encode())
            self.assertEqual((await peer.answer()).status, status, name)
        client.signal("TERM")
        self.assertEqual(await self.until_exit(client, 30.0), 0, client.text)

"""Laws of the manifests: what they name exists, the settings are right, and Kubernetes takes them."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Mapping
from typing import Any

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.deploy.files import DEPLOY, TOKEN, documents, e2e_tool, environment_file, values
from tests.deploy.settings import IMAGE_ENVIRONMENT, METRICS, client_settings, port_of, worker_settings

MANIFESTS = sorted(path for path in (DEPLOY / "kubernetes").glob("*.yaml") if "values" not in path.name)
OF_KUBERNETES = {"apps/v1", "v1", "networking.k8s.io/v1", "autoscaling/v2"}
"""The kinds of Kubernetes itself. The others are of operators, and no package has their schemas."""


def manifests() -> Iterator[tuple[str, dict[str, Any]]]:
    """Each document of the manifests, with the name of its file."""
    for path in MANIFESTS:
        for document in documents(path):
            yield path.name, document


def of_kind(kind: str) -> dict[str, dict[str, Any]]:
    """The documents of a kind, by their names."""
    return {each["metadata"]["name"]: each for _, each in manifests() if each["kind"] == kind}


def environment(container: Mapping[str, Any]) -> dict[str, str]:
    """A container's variables, with a token in the place of each secret."""
    return {each["name"]: each.get("value", TOKEN) for each in container.get("env", [])}


class KubernetesTests(SynchronousTestCase):
    def test_schemas(self) -> None:
        """Kubernetes takes the manifests: no unknown field, and every value of its type."""
        program = e2e_tool("kubernetes-validate")
        if not program:
            raise SkipTest("kubernetes-validate is not installed: ./run_tests.sh installs it for the end-to-end tests")
        own = [path for path in MANIFESTS if {each["apiVersion"] for each in documents(path)} <= OF_KUBERNETES]
        self.assertEqual(
            {path.name for path in MANIFESTS} - {path.name for path in own},
            {"podmonitor.yaml", "autoscaling-keda.yaml"},
        )
        done = subprocess.run([program, "--strict", *map(str, own)], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def containers(self) -> dict[str, Any]:
        """Our own containers, by their names."""
        found = {}
        for deployment in of_kind("Deployment").values():
            for container in deployment["spec"]["template"]["spec"]["containers"]:
                found[container["name"]] = container
        self.assertEqual(set(found), {"vespa", "vespa-client"})
        return found

    def test_worker(self) -> None:
        """The worker's settings are right, and its ports are those at which it listens with them."""
        container = self.containers()["vespa"]
        settings = worker_settings({**IMAGE_ENVIRONMENT, **environment(container)})
        self.assertEqual(container["args"], ["worker"])
        self.assertEqual(settings.interface, "0.0.0.0")
        expected = {"http": settings.worker_port, "admin": port_of(settings.admin_listen)}
        self.assertEqual({each["name"]: each["containerPort"] for each in container["ports"]}, expected)
        (backend,) = of_kind("Deployment")["vllm"]["spec"]["template"]["spec"]["initContainers"]
        address = backend["args"]
        assert settings.backend_url is not None
        self.assertEqual(
            settings.backend_url.url,
            f"http://{address[address.index('--host') + 1]}:{address[address.index('--port') + 1]}",
        )
        self.assertEqual(backend["restartPolicy"], "Always")

    def test_client(self) -> None:
        """The client's settings are right, and its ports are those at which it listens with them."""
        container = self.containers()["vespa-client"]
        command, *arguments = container["args"]
        self.assertEqual(command, "client")
        settings = client_settings(arguments, {**IMAGE_ENVIRONMENT, **environment(container)})
        self.assertEqual((settings.host, settings.token), ("0.0.0.0", TOKEN))
        self.assertIn("vespa-client", settings.allow_hosts)
        expected = {"http": settings.port, "admin": port_of(settings.admin_listen)}
        self.assertEqual({each["name"]: each["containerPort"] for each in container["ports"]}, expected)

    def test_service_links(self) -> None:
        """Kubernetes adds no variables for services: VESPA_CLIENT_PORT of a service vespa-client would be a setting."""
        for deployment in of_kind("Deployment").values():
            self.assertIs(deployment["spec"]["template"]["spec"]["enableServiceLinks"], False)

    def test_grace(self) -> None:
        """A pod has time for what comes before its end: the wait for the nodes, then the requests in flight."""
        worker, client = self.containers()["vespa"], self.containers()["vespa-client"]
        drains = {
            "vllm": (worker, worker_settings(environment(worker)).drain_timeout),
            "vespa-client": (client, client_settings(client["args"][1:], environment(client)).drain_timeout),
        }
        for name, (container, drain) in drains.items():
            pause = container["lifecycle"]["preStop"]["sleep"]["seconds"]
            grace = of_kind("Deployment")[name]["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
            self.assertGreaterEqual(grace, pause + drain + 10)

    def test_names(self) -> None:
        """Probes, services and monitors name ports that there are; each selector chooses pods of one kind."""
        for container in self.containers().values():
            named = {each["name"] for each in container["ports"]}
            for probe, path in (("readinessProbe", "/readyz"), ("livenessProbe", "/healthz")):
                asked = container[probe]["httpGet"]
                self.assertEqual((asked["path"], asked["port"] in named), (path, True))
        pods = [each["spec"]["template"]["metadata"]["labels"] for each in of_kind("Deployment").values()]
        selectors = [
            *(each["spec"]["selector"]["matchLabels"] for each in of_kind("Deployment").values()),
            *(each["spec"]["selector"] for each in of_kind("Service").values()),
            *(each["spec"]["podSelector"]["matchLabels"] for each in of_kind("NetworkPolicy").values()),
            *(each["spec"]["selector"]["matchLabels"] for each in of_kind("PodMonitor").values()),
        ]
        self.assertEqual(len(selectors), 7)
        for selector in selectors:
            self.assertEqual(len([labels for labels in pods if selector.items() <= labels.items()]), 1, selector)
        for _, document in manifests():
            targets = [
                *values(document, "targetPort"),
                *(each["port"] for each in values(document, "podMetricsEndpoints") for each in each),
            ]
            self.assertLessEqual(set(targets), {"http", "admin"})

    def test_secrets(self) -> None:
        """A secret that is used is made by a command at the top of the file that needs it."""
        for path in MANIFESTS:
            text = path.read_text("utf-8")
            for reference in (each for document in documents(path) for each in values(document, "secretKeyRef")):
                self.assertIn(f"kubectl create secret generic {reference['name']} ", text)
                self.assertIn(f"--from-literal={reference['key']}=", text)

    def test_scaling(self) -> None:
        """Both autoscalers scale the deployment of the workers, by metrics that exist."""
        for kind in ("ScaledObject", "HorizontalPodAutoscaler"):
            (found,) = of_kind(kind).values()
            self.assertIn(found["spec"]["scaleTargetRef"]["name"], of_kind("Deployment"))
        used = {
            name
            for path in (DEPLOY / "kubernetes").glob("*.yaml")
            for text in map(str, documents(path))
            for name in re.findall(r"\bvespa_[a-z_]+", text)
        }
        self.assertEqual(used, METRICS)

    def test_pods_metrics(self) -> None:
        """The adapter passes on what the autoscaler of Kubernetes asks for."""
        (adapter,) = documents(DEPLOY / "kubernetes" / "prometheus-adapter-values.yaml")
        (rule,) = adapter["rules"]["custom"]
        (autoscaler,) = of_kind("HorizontalPodAutoscaler").values()
        asked = [each["pods"]["metric"]["name"] for each in autoscaler["spec"]["metrics"]]
        for name in asked:
            self.assertIn(name, rule["seriesQuery"])
        (container,) = re.findall(r'container="(.*?)"', rule["seriesQuery"])
        self.assertEqual(self.containers()[container]["args"], ["worker"])


class EnvironmentFileTests(SynchronousTestCase):
    """The examples of settings for systemd's units."""

    def test_worker(self) -> None:
        """They are right as they stand, and so are those that are commented out."""
        path = DEPLOY / "systemd" / "worker.env"
        settings = worker_settings(environment_file(path))
        self.assertEqual((settings.interface, settings.admin_listen.count("127.0.0.1")), ("127.0.0.1", 1))
        worker_settings(environment_file(path, with_comments=True))

    def test_client(self) -> None:
        """The same for the client."""
        path = DEPLOY / "systemd" / "client.env"
        self.assertEqual(client_settings([], environment_file(path)).host, "127.0.0.1")
        client_settings([], environment_file(path, with_comments=True))

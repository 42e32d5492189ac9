"""Laws of the compose file: what it names exists, and the settings are right."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.deploy.files import DEPLOY, ROOT, TOKEN, documents, values
from tests.deploy.settings import IMAGE_ENVIRONMENT, port_of, worker_settings

COMPOSE = DEPLOY / "compose" / "compose.yaml"


class ComposeTests(SynchronousTestCase):
    def setUp(self) -> None:
        (self.compose,) = documents(COMPOSE)
        self.services: dict[str, Any] = self.compose["services"]
        environment = self.services["worker"]["environment"]
        self.assertTrue(all(isinstance(value, str) for value in environment.values()))
        self.worker = worker_settings({**IMAGE_ENVIRONMENT, **environment})

    def test_worker(self) -> None:
        """The worker's settings are right: it serves others, before the server beside it, with a token for its page."""
        self.assertEqual(self.worker.interface, "0.0.0.0")
        self.assertEqual(self.worker.admin_token, TOKEN)
        backend = self.worker.backend_url
        assert backend is not None
        command = self.services["llama"]["command"]
        self.assertEqual(backend.url, f"http://llama:{command[command.index('--port') + 1]}")
        self.assertEqual(str(self.worker.max_concurrency), command[command.index("--parallel") + 1])

    def test_ports(self) -> None:
        """What is published is open on this machine only, and leads to a port at which somebody listens."""
        listening = {
            "worker": {self.worker.worker_port, port_of(self.worker.admin_listen)},
            "prometheus": {9090},
            "grafana": {3000},
        }
        for name, service in self.services.items():
            inside = set()
            for published in service.get("ports", []):
                address, _, port = published.split(":")
                self.assertEqual(address, "127.0.0.1")
                inside.add(int(port))
            self.assertEqual(inside, listening.get(name, set()), name)

    def test_files(self) -> None:
        """What is mounted or built from exists; a volume with a name is declared; so is a secret."""
        for service in self.services.values():
            for volume in service.get("volumes", []):
                source = volume.split(":")[0]
                if source.startswith("."):
                    self.assertTrue((COMPOSE.parent / source).is_file(), source)
                else:
                    self.assertIn(source, self.compose["volumes"])
            self.assertLessEqual(set(service.get("secrets", [])), set(self.compose["secrets"]))
        build = self.services["worker"]["build"]
        context = (COMPOSE.parent / build["context"]).resolve()
        self.assertEqual(context, ROOT.resolve())
        self.assertTrue((context / build["dockerfile"]).is_file())

    def test_prometheus(self) -> None:
        """Prometheus asks the worker's admin port with the token, and its rules are where it looks for them."""
        (config,) = documents(COMPOSE.parent / "prometheus.yml")
        (job,) = config["scrape_configs"]
        self.assertEqual(job["static_configs"][0]["targets"], [f"worker:{port_of(self.worker.admin_listen)}"])
        secrets = self.services["prometheus"]["secrets"]
        self.assertIn(job["authorization"]["credentials_file"].removeprefix("/run/secrets/"), secrets)
        self.assertIn(self.worker.admin_token_file.removeprefix("/run/secrets/"), self.services["worker"]["secrets"])
        mounted = [volume.split(":")[1] for volume in self.services["prometheus"]["volumes"]]
        self.assertLessEqual(set(config["rule_files"]), set(mounted))

    def test_promtool(self) -> None:
        """Prometheus takes the configuration with its rules."""
        promtool = shutil.which("promtool")
        if promtool is None:
            raise SkipTest("promtool is not installed: apt-get install prometheus")
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        (folder / "admin_token").write_text(TOKEN)
        text = (COMPOSE.parent / "prometheus.yml").read_text("utf-8")
        text = text.replace("/run/secrets/", f"{folder}/").replace("/etc/prometheus/", f"{DEPLOY}/prometheus/")
        (folder / "prometheus.yml").write_text(text, "utf-8")
        done = subprocess.run([promtool, "check", "config", folder / "prometheus.yml"], capture_output=True, text=True)
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)

    def test_jobs(self) -> None:
        """The jobs have the names that the alert rules and the dashboard know, also in Kubernetes."""
        (known,) = documents(DEPLOY / "prometheus" / "prometheus.yml")
        names = {job["job_name"] for job in known["scrape_configs"]}
        (here,) = documents(COMPOSE.parent / "prometheus.yml")
        self.assertLessEqual({job["job_name"] for job in here["scrape_configs"]}, names)
        monitors = documents(DEPLOY / "kubernetes" / "podmonitor.yaml")
        relabelled = [each for monitor in monitors for each in next(values(monitor, "relabelings"))]
        self.assertEqual({each["replacement"] for each in relabelled if each["targetLabel"] == "job"}, names)

    def test_grafana(self) -> None:
        """Grafana finds Prometheus and the dashboard, which is also its first page."""
        (sources,) = documents(COMPOSE.parent / "grafana" / "datasources.yml")
        self.assertEqual([each["url"] for each in sources["datasources"]], ["http://prometheus:9090"])
        (providers,) = documents(COMPOSE.parent / "grafana" / "dashboards.yml")
        folder = providers["providers"][0]["options"]["path"]
        grafana = self.services["grafana"]
        first = grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
        self.assertEqual(first.rpartition("/")[0], folder)
        self.assertIn(first, [volume.split(":")[1] for volume in grafana["volumes"]])

"""What keeps a worker from working is one sentence each."""

from __future__ import annotations

from twisted.internet import reactor
from twisted.trial.unittest import SynchronousTestCase

from vespa.config.worker import WorkerSettings
from vespa.config.worker_reading import load
from vespa.worker.obstacles import file_problem, unreachable

UNSECURED = {
    "VESPA_BACKEND_URL": "http://localhost:8000",
    "VESPA_UNSECURED": "true",
    "VESPA_WORKER_PORT": "28003",
    "CONTAINER_ID": "7",
    "MASTER_TOKEN": "token",
    "PUBLIC_IPADDR": "203.0.113.7",
}


class UnreachableTests(SynchronousTestCase):
    def test_loopback_only(self) -> None:
        """A worker on Vast that listens on loopback is reached by no client; its error names the port."""
        problem = unreachable(load(UNSECURED))
        self.assertIn("at port 28003", problem)
        self.assertIn("unset VESPA_UNSECURED", problem)

    def test_reachable(self) -> None:
        """Clients can reach a worker that is public, has a loopback address, or listens at an endpoint string."""
        for changes in (
            {"VESPA_UNSECURED_PUBLIC": "true"},
            {"PUBLIC_IPADDR": "127.0.0.1"},
            {"VESPA_LISTEN": "unix:/run/vespa.sock"},
        ):
            self.assertEqual(unreachable(load({**UNSECURED, **changes})), "")


class FileTests(SynchronousTestCase):
    def test_endpoints(self) -> None:
        """Each error of an endpoint is reported."""
        for endpoint in (
            "bogus:1",
            "tcp",
            "tcp:x",
            "tcp:1:nope=1",
            "ssl:1:privateKey=/nowhere",
            "ssl:1:privateKey=/nowhere:sslmethod=TLSv1_2_METHOD",
            f"ssl:1:privateKey={__file__}",
        ):
            said = file_problem(reactor, WorkerSettings(listen=endpoint))
            self.assertIn("cannot listen on", said)
            for jargon in ("invalid literal", "Errno", "__init__"):
                self.assertNotIn(jargon, said)
        self.assertEqual(file_problem(reactor, WorkerSettings(listen="tcp:0")), "")

    def test_admin_port(self) -> None:
        """An error of the admin port's endpoint names its setting; no endpoint is no error."""
        said = file_problem(reactor, WorkerSettings(listen="tcp:0", admin_listen="tcp:x"))
        self.assertIn("VESPA_ADMIN_LISTEN='tcp:x': 'x' must be a whole number", said)
        self.assertEqual(file_problem(reactor, WorkerSettings(listen="tcp:0", admin_listen="")), "")

    def test_roots(self) -> None:
        """Roots that are not certificates are an error."""
        self.assertIn("VESPA_BACKEND_CA_FILE", file_problem(reactor, WorkerSettings(backend_ca_file=__file__)))

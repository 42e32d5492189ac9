"""The properties derived from a worker's settings."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from vespa.config.worker import WorkerSettings

VAST: dict[str, Any] = {"container_id": 7, "master_token": "a-token-that-nobody-may-see"}


class DerivedTests(SynchronousTestCase):
    def test_limits_of_backend(self) -> None:
        """Of the two limits on connections the smaller that is set counts; 0 is none."""
        self.assertEqual(WorkerSettings().backend_connection_limit, 0)
        self.assertEqual(WorkerSettings(connection_limit=9).backend_connection_limit, 9)
        self.assertEqual(WorkerSettings(connection_limit=9, connection_limit_per_host=4).backend_connection_limit, 4)

    def test_one_at_a_time(self) -> None:
        """Without parallel requests one slot is left, whatever the other setting says."""
        self.assertEqual(WorkerSettings(allow_parallel=False, max_concurrency=8).concurrency, 1)
        self.assertEqual(WorkerSettings(max_concurrency=8).concurrency, 8)

    def test_public_url(self) -> None:
        """The public address is an URL with the public port; without either there is none."""
        for address, port, use_ssl, url in (
            ("198.51.100.7", 41234, False, "http://198.51.100.7:41234"),
            ("2001:db8::1", 1, True, "https://[2001:db8::1]:1"),
            ("", 1, False, ""),
            ("198.51.100.7", None, False, ""),
        ):
            settings = WorkerSettings(public_ipaddr=address, public_port=port, use_ssl=use_ssl)
            self.assertEqual(settings.public_url, url)

    def test_identity(self) -> None:
        """A worker with an id, be it 0, and a token reports to the autoscaler; any other reports to nobody."""
        settings = WorkerSettings(**VAST)
        self.assertEqual(settings.report_addresses, ("https://run.vast.ai",))
        nobody: tuple[dict[str, Any], ...] = ({"container_id": None}, {"master_token": ""})
        for more in nobody:
            settings = WorkerSettings(**{**VAST, **more})
            self.assertEqual((settings.identity, settings.report_addresses), (None, ()))
        identity = WorkerSettings(**{**VAST, "container_id": 0}).identity
        assert identity is not None
        self.assertEqual((identity.id, identity.url), (0, ""))

    def test_session_port(self) -> None:
        """The port for the backend is the worker's next one; none if it is off, too high, or without sessions."""
        self.assertEqual(WorkerSettings(worker_port=3005).session_port, 3006)
        self.assertEqual(WorkerSettings(worker_port=3005, http_port=9000).session_port, 9000)
        self.assertEqual(WorkerSettings(http_port=0).session_port, 0)
        self.assertEqual(WorkerSettings(worker_port=65535).session_port, 0)
        self.assertEqual(WorkerSettings(http_port=9000, max_sessions=0).session_port, 0)

    def test_interface(self) -> None:
        """Only an unsecured worker that is not public listens on this machine alone."""
        self.assertEqual(WorkerSettings().interface, "0.0.0.0")
        self.assertEqual(WorkerSettings(unsecured=True).interface, "127.0.0.1")
        self.assertEqual(WorkerSettings(unsecured=True, unsecured_public=True).interface, "0.0.0.0")

    def test_no_token_is_shown(self) -> None:
        """The settings' repr does not show secrets."""
        self.assertNotIn("nobody-may-see", repr(WorkerSettings(**VAST, backend_authorization="nobody-may-see")))

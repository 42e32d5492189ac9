"""The checks of ClientSettings that a program makes."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from vespa.config.client import ClientSettings


class SettingsTests(SynchronousTestCase):
    def test_out_of_range(self) -> None:
        """The error names each wrong field."""
        wrong: dict[str, Any] = {
            "instance": "staging",
            "dialect": "offical",
            "port": 70000,
            "default_cost": float("nan"),
            "attempts": 0,
            "max_connections": -1,
        }
        for name, value in wrong.items():
            error = self.assertRaises(ValueError, ClientSettings, endpoint="e", **{name: value})
            self.assertIn(name, str(error))
        for name in ("instance", "dialect", "transport", "console_url"):
            self.assertIn(name, str(self.assertRaises(ValueError, ClientSettings, endpoint="e", **{name: ""})))
        for value in (-1.0, float("nan"), float("inf")):
            self.assertRaises(ValueError, ClientSettings, endpoint="e", timeout=value)
        for name, value in (("endpoint", 1), ("max_connections", "3"), ("timeout", "x"), ("default_cost", "5")):
            self.assertRaises(ValueError, ClientSettings, **{"endpoint": "e", name: value})

    def test_no_key_is_shown(self) -> None:
        """The settings' repr does not show keys and tokens."""
        error = self.assertRaises(ValueError, ClientSettings, endpoint="e", endpoint_key="a key-8152", port=-1)
        self.assertIn("endpoint_key=(hidden): ", str(error))
        self.assertNotIn("8152", str(error))
        error = self.assertRaises(ValueError, ClientSettings, endpoint="e", console_url="http://me:pw-8152@a")
        self.assertNotIn("8152", str(error))
        settings = ClientSettings(endpoint="e", endpoint_key="k-1", account_key="k-2", token="k-3")
        self.assertNotIn("k-", repr(settings))

    def test_as_read(self) -> None:
        """A program's value is parsed like one of the command line."""
        settings = ClientSettings(host="box.example", autoscaler_url="http://a/", allow_origins=["HTTP://B:80"])  # type: ignore[arg-type]
        self.assertEqual((settings.host, settings.autoscaler), ("box.example", "http://a"))
        self.assertEqual(settings.allow_origins, ("http://b",))
        for name, value in (("allow_origins", ("*",)), ("passes", ("x-api-key",)), ("host", 1)):
            self.assertRaises(ValueError, ClientSettings, **{name: value})

    def test_local(self) -> None:
        """The local autoscaler is on this machine. Workers may be near with it, and where the user names an address."""
        self.assertEqual(ClientSettings(endpoint="e", instance="local").autoscaler, "http://localhost:8080")
        each: Any
        for each in ({"instance": "local"}, {"autoscaler_url": "http://a"}, {"debug_worker_url": "http://a"}):
            self.assertTrue(ClientSettings(endpoint="e", **each).local_workers)
        for each in ("prod", "alpha", "candidate"):
            self.assertFalse(ClientSettings(endpoint="e", instance=each).local_workers)

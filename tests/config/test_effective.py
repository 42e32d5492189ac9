"""Tests of `vespa.config.effective`."""

from __future__ import annotations

import json
from typing import Any

import attrs
from twisted.trial.unittest import SynchronousTestCase

from vespa.config.client import ClientSettings
from vespa.config.effective import VALUE_MAX, effective
from vespa.config.schema import HIDDEN, rows
from vespa.config.worker import WorkerSettings
from vespa.config.worker_reading import load

BACKEND = {"VESPA_BACKEND_URL": "http://127.0.0.1:8000", "VESPA_UNSECURED": "true"}


def by_name(settings: object) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in effective(settings)}


class EffectiveTests(SynchronousTestCase):
    def test_every_setting(self) -> None:
        """There is a row for each setting, and JSON can hold it."""
        for settings in (load(BACKEND), ClientSettings(endpoint="e", endpoint_key="k" * 20)):
            found = effective(settings)
            self.assertEqual(len(found), len(rows(type(settings))))
            self.assertEqual(len({row["name"] for row in found}), len(found))
            json.dumps(found, allow_nan=False)

    def test_worker(self) -> None:
        """A value is what one would write, with its unit, its section, and whether it is the default."""
        found = by_name(load({**BACKEND, "VESPA_MAX_QUEUE": "7", "VESPA_ALLOWED_HOSTS": "a.test,b.test"}))
        expected = {"section": "Admission", "value": "7", "unit": "", "is_default": False}
        self.assertEqual(found["VESPA_MAX_QUEUE"], {"name": "VESPA_MAX_QUEUE", **expected})
        self.assertEqual(found["VESPA_ALLOWED_HOSTS"]["value"], "a.test, b.test")
        self.assertEqual(found["VESPA_UNSECURED"]["value"], "true")
        self.assertEqual(found["VESPA_BACKEND_URL"]["value"], "http://127.0.0.1:8000")
        wait = found["VESPA_MAX_WAIT_TIME"]
        self.assertEqual((wait["value"], wait["unit"], wait["is_default"]), ("10", "seconds", True))
        self.assertEqual((found["CONTAINER_ID"]["value"], found["CONTAINER_ID"]["is_default"]), ("", True))

    def test_several_backends(self) -> None:
        """Several backends are their URLs, and affinity is as one would write it."""
        urls = "http://a:1 unix:/b.sock"
        found = by_name(load({**BACKEND, "VESPA_BACKEND_URL": urls, "VESPA_AFFINITY": "header:X-User"}))
        self.assertEqual(found["VESPA_BACKEND_URL"]["value"], "http://a:1, unix:/b.sock")
        self.assertEqual(found["VESPA_AFFINITY"]["value"], "header:x-user")

    def test_client(self) -> None:
        """The client's settings have their variable or their option as a name."""
        found = by_name(ClientSettings(endpoint="e", endpoint_key="k" * 20, port=9))
        self.assertEqual(found["VESPA_CLIENT_PORT"]["value"], "9")
        self.assertEqual(found["--dialect"]["value"], "vespa")

    def test_long(self) -> None:
        """A long value is cut."""
        found = by_name(load({**BACKEND, "VESPA_BENCHMARK": "/" + "x" * 1000 + ".py:benchmark"}))
        self.assertEqual(len(found["VESPA_BENCHMARK"]["value"]), VALUE_MAX)

    def test_secrets(self) -> None:
        """No secret is shown, but whether it is set; nor is anything that may hold a password."""
        secret = "secret-0123456789"
        for schema in (WorkerSettings, ClientSettings):
            given: dict[str, Any] = {row.attribute: secret for row in rows(schema) if row.secret}
            self.assertGreater(len(given), 2)
            settings = attrs.evolve(load(BACKEND), **given) if schema is WorkerSettings else ClientSettings(**given)
            self.assertNotIn(secret, json.dumps(effective(settings)))
            hidden = [row for row in effective(settings) if row["value"] == HIDDEN]
            self.assertEqual(len(hidden), len(given))
        found = by_name(attrs.evolve(load(BACKEND), report_addr=("http://user:password@host.test",)))
        self.assertEqual(found["REPORT_ADDR"]["value"], HIDDEN)
        self.assertEqual(found["MASTER_TOKEN"]["value"], "", "it is not set")

"""Tests of `vespa.config.check`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from vespa.config.check import OF_THE_CLIENT, OF_THE_WORKER, parts, read
from vespa.config.client import ClientSettings
from vespa.config.commands import CHECK
from vespa.config.reader import SettingsError
from vespa.config.schema import rows
from vespa.config.worker import WorkerSettings


class CheckTests(SynchronousTestCase):
    def test_read(self) -> None:
        """Every option is read; a file may be standard input."""
        settings = read(CHECK.parse(["--json", "--strict", "--production", "--worker", "--route", "-"]))
        self.assertTrue(settings.json and settings.strict and settings.production and settings.worker)
        self.assertEqual((settings.route, settings.client), ("-", False))

    def test_mistakes(self) -> None:
        """Mistakes are named together."""
        error = self.assertRaises(SettingsError, read, CHECK.parse(["--fly", "--client", "--production"]))
        self.assertIn("--fly", str(error))
        self.assertIn("--production", str(error))

    def test_parts(self) -> None:
        """What has variables is examined, the worker if nothing has, or what is named."""
        worker, client = {"CONTAINER_ID": "7"}, {"VAST_ENDPOINT": "e"}
        for arguments, environ, expected in (
            ([], {}, (True, False)),
            ([], {"VESPA_TRANSPORT": "stock", "VAST_API_KEY": " "}, (True, False)),
            ([], worker, (True, False)),
            ([], client, (False, True)),
            ([], {**worker, **client}, (True, True)),
            (["--client"], worker, (False, True)),
            (["--worker"], client, (True, False)),
            (["--worker", "--client"], {}, (True, True)),
            (["--route", "-"], client, (True, True)),
            (["--production"], client, (True, True)),
        ):
            self.assertEqual(parts(read(CHECK.parse(arguments)), environ), expected, (arguments, environ))

    def test_variables(self) -> None:
        """They are variables of the worker, and of the client."""
        for names, schema in ((OF_THE_WORKER, WorkerSettings), (OF_THE_CLIENT, ClientSettings)):
            self.assertLessEqual(set(names), {row.name for row in rows(schema)})

"""The stand-in's modules, in this process: they are removed again after each test."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from pathlib import Path
from typing import Any, NoReturn

from twisted.trial.unittest import SynchronousTestCase

from vespa.migrating import stand_in
from vespa.migrating.official_classes import LogAction, LogActionConfig
from vespa.migrating.recorder import Recorder

OWN = ("vastai", "lib", "nltk")


class Served(BaseException):
    """Stands for the end of the process."""


class StandInCase(SynchronousTestCase):
    def setUp(self) -> None:
        before = {name: module for name, module in sys.modules.items() if name.partition(".")[0] in OWN}
        self.addCleanup(sys.modules.update, before)
        self.addCleanup(self.remove)
        self.remove()

        def served() -> NoReturn:
            raise Served

        self.recorder = Recorder(served)

    def remove(self) -> None:
        for name in [name for name in sys.modules if name.partition(".")[0] in OWN]:
            del sys.modules[name]

    def install(self, old: bool = False) -> Any:
        stand_in.install(self.recorder, old=old)
        return importlib.import_module("vastai")


class ModuleTests(StandInCase):
    def test_modules(self) -> None:
        """Every module that PyWorkers import, by its name and through its parents."""
        vastai = self.install()
        worker = importlib.import_module("vastai.serverless.server.worker")
        types = importlib.import_module("vastai.serverless.server.lib.data_types")
        self.assertIs(vastai.serverless.server.worker, worker)
        self.assertIs(vastai.WorkerConfig, worker.WorkerConfig)
        self.assertTrue(issubclass(types.EndpointHandler, object))
        self.assertIs(importlib.import_module("vastai.serverless.server.lib.backend").LogAction, LogAction)
        self.assertRaises(ImportError, importlib.import_module, "lib.backend")

    def test_old(self) -> None:
        """The modules of PyWorkers from before the package, whose handlers have one more field."""
        self.install(old=True)
        types = importlib.import_module("lib.data_types")
        self.assertEqual(types.EndpointHandler(benchmark_words=256).benchmark_runs, 8)

    def test_records(self) -> None:
        """Configurations, workers and the options of run are recorded; positional fields too."""
        vastai = self.install()
        first = vastai.WorkerConfig("http://h", 1)
        self.assertEqual((first.model_server_url, first.handlers), ("http://h", []))
        self.assertIs(self.recorder.config, first)
        other = vastai.WorkerConfig()
        worker = vastai.Worker(config=first)
        self.assertRaises(Served, worker.run, host="h")
        self.assertEqual(self.recorder.configs, [first, other])
        self.assertIs(self.recorder.config, first)  # the worker's counts more than the newest
        self.assertEqual(self.recorder.options, {"host": "'h'"})

    def test_lists_are_not_shared(self) -> None:
        """Each configuration has lists of its own."""
        vastai = self.install()
        vastai.WorkerConfig().handlers.append(1)
        self.assertEqual(vastai.WorkerConfig().handlers, [])

    def test_unknown(self) -> None:
        """Unknown fields are recorded and left out, and the signature has the official ones only."""
        vastai = self.install()
        config = vastai.HandlerConfig(route="/a", method="POST")
        self.assertFalse(hasattr(config, "method"))
        self.assertEqual(self.recorder.unknown, ["HandlerConfig.method"])
        self.assertNotIn("method", inspect.signature(vastai.HandlerConfig).parameters)
        self.assertIn("route", inspect.signature(vastai.HandlerConfig).parameters)
        self.assertRaises(TypeError, vastai.HandlerConfig)  # without a route, as officially

    def test_missing(self) -> None:
        """A name that the stand-in does not have can be imported, and fails with its name when it is used."""
        vastai = self.install()
        self.assertIn("vastai.Serverless is not in", str(self.assertRaises(NotImplementedError, vastai.Serverless)))
        self.assertFalse(hasattr(vastai, "__wrapped__"))

    def test_backend(self) -> None:
        """A Backend keeps its fields; its routes keep their handlers."""
        self.install(old=True)
        library = importlib.import_module("lib.backend")
        backend = library.Backend("http://h:1", benchmark_handler=1, log_actions=[])
        self.assertEqual(backend.fields["model_server_url"], "http://h:1")
        route = backend.create_handler("handler")
        self.assertEqual(route.endpoint_handler, "handler")
        start = importlib.import_module("lib.server").start_server
        self.assertRaises(Served, start, backend, [route])
        self.assertEqual(self.recorder.config.fields["routes"], [route])

    def test_words(self) -> None:
        """PyWorkers take the words of their prompts from nltk, which a machine without it need not have."""
        self.install()
        nltk = importlib.import_module("nltk")
        self.assertTrue(nltk.download("words"))
        self.assertGreater(len(set(nltk.corpus.words.words())), 100)
        self.assertRaises(ImportError, importlib.import_module, "nltk.tokenize")

    def test_installed_words(self) -> None:
        """An installed nltk is used only if its list of words is there too, because it cannot be downloaded here."""
        folder = Path(self.mktemp()).absolute()
        (folder / "lib" / "nltk").mkdir(parents=True)
        (folder / "lib" / "nltk" / "__init__.py").write_text("INSTALLED = True\n")
        self.patch(sys, "path", [str(folder / "lib"), *sys.path])
        self.patch(os, "environ", {"HOME": str(folder)})
        self.install()
        self.assertFalse(importlib.import_module("nltk").__dict__.get("INSTALLED", False))
        self.remove()
        (folder / "nltk_data" / "corpora" / "words").mkdir(parents=True)
        self.install()
        self.assertTrue(importlib.import_module("nltk").INSTALLED)


class ClassTests(SynchronousTestCase):
    def test_log_actions(self) -> None:
        """Patterns with their kinds, in the official order."""
        config = LogActionConfig(on_load=["a"], on_error=["b", "c"], on_info=["d"])
        kinds = [action.name for action, _ in config.log_actions]
        self.assertEqual(kinds, ["ModelLoaded", "ModelError", "ModelError", "Info"])

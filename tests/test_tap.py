"""Laws of the worker's start: the options of twistd, and the service that it gets."""

from __future__ import annotations

from twisted.application.service import IService, IServiceMaker
from twisted.plugin import getPlugins
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.config.test_worker_reading import ON_VAST, QUICK_START, TOKEN
from vespa.config.worker_reading import load
from vespa.runtime.log_level import LevelSignal
from vespa.runtime.signals import Signals
from vespa.tap import Options, makeService, start_line


def parsed(environ: dict[str, str]) -> Options:
    options = Options(environ)
    options.parseOptions([])
    return options


class StartLineTests(SynchronousTestCase):
    def test_backends(self) -> None:
        """The line of a start names the backend, or each of several, and by what affinity goes."""
        single = start_line(load(QUICK_START), None)
        self.assertIn(": backend http://localhost:8000; ", single)
        self.assertNotIn("affinity", single)
        several = {**QUICK_START, "VESPA_BACKEND_URL": "http://a,http://b", "VESPA_AFFINITY": "json:user"}
        line = start_line(load(several), None)
        self.assertIn(": backends http://a, http://b; ", line)
        self.assertIn("affinity json:user", line)

    def test_parts(self) -> None:
        """The line says of each part that a setting turns on whether it is on."""
        self.assertIn(
            "abort off, usage off, recalibration off, stream errors off, ", start_line(load(QUICK_START), None)
        )
        on = {"VESPA_USAGE": "openai", "VESPA_RECALIBRATE": "true", "VESPA_STREAM_ERRORS": "true"}
        line = start_line(load({**QUICK_START, **on, "VESPA_BENCHMARK": "benchmarks.openai_chat:benchmark"}), None)
        self.assertIn("usage openai, recalibration on, stream errors on, ", line)


class OptionsTests(SynchronousTestCase):
    def test_good(self) -> None:
        """Settings that can be used are there once the options are parsed."""
        options = parsed(QUICK_START)
        self.assertEqual((options.reading.settings.worker_port, options.reading.error), (3001, None))

    def test_bad(self) -> None:
        """Settings that cannot be used end the process with everything that is wrong in them."""
        error = self.assertRaises(SystemExit, parsed, {"VESPA_WORKER_PORT": "x"})
        self.assertIn("VESPA_WORKER_PORT='x'", str(error))
        self.assertIn("VESPA_BACKEND_URL is not set", str(error))

    def test_bad_with_identity(self) -> None:
        """A worker that knows itself goes on with the error, to report it."""
        options = parsed({**ON_VAST, "VESPA_BENCHMARK": ""})
        self.assertIn("VESPA_BENCHMARK is empty", str(options.reading.error))
        self.assertTrue(options.reading.can_report)
        identity = options.reading.settings.identity
        assert identity is not None
        self.assertEqual(identity.mtoken, TOKEN)

    def test_no_options(self) -> None:
        """The worker takes none: one is an error, and what stood there is not shown."""
        error = self.assertRaises(SystemExit, Options(QUICK_START).parseOptions, ["--api-key=hush", "hush"])
        self.assertIn("option --api-key not recognized", str(error))
        self.assertNotIn("hush", str(error))


class ServiceTests(SynchronousTestCase):
    def test_tree(self) -> None:
        """The tree takes the signals first, and starts the worker after that."""
        service = makeService(parsed(QUICK_START))
        verifyObject(IService, service)
        first, second, worker = list(service)  # type: ignore[call-overload]
        self.assertIsInstance(first, Signals)
        self.assertIsInstance(second, LevelSignal)
        verifyObject(IService, worker)

    def test_nobody_to_tell(self) -> None:
        """An invalid endpoint ends the process if no failure can be reported."""
        error = self.assertRaises(SystemExit, makeService, parsed({**QUICK_START, "VESPA_LISTEN": "bogus:1"}))
        self.assertIn("bogus", str(error))

    def test_plugin(self) -> None:
        """twistd knows the worker by the name vespa."""
        (maker,) = [maker for maker in getPlugins(IServiceMaker) if maker.tapname == "vespa"]
        verifyObject(IServiceMaker, maker)
        self.assertIs(maker.options, Options)
        self.assertIs(maker.makeService, makeService)

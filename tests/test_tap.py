"""Laws of the start: what twistd is told, and what it is handed."""

from __future__ import annotations

import io
import sys

from twisted.application.service import IService, IServiceMaker
from twisted.internet import reactor
from twisted.plugin import getPlugins
from twisted.python import usage
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.test_settings import ON_VAST, QUICK_START, TOKEN
from vespa.cli import main
from vespa.net.signals import Signals
from vespa.settings import Settings
from vespa.tap import Options, file_problem, install_reactor, makeService, use_our_log


def parsed(environ: dict[str, str]) -> Options:
    options = Options(environ)
    options.parseOptions([])
    return options


class OptionsTests(SynchronousTestCase):
    def test_good(self) -> None:
        """Settings that can be used are there once the options are parsed."""
        options = parsed(QUICK_START)
        assert options.settings is not None
        self.assertEqual((options.settings.worker_port, options.problem), (3001, ""))

    def test_bad(self) -> None:
        """Settings that cannot be used are a usage error with everything in it, which twistd prints before it exits."""
        error = self.assertRaises(usage.UsageError, parsed, {"VESPA_WORKER_PORT": "x"})
        self.assertIn("VESPA_WORKER_PORT='x'", str(error))
        self.assertIn("VESPA_BACKEND_URL is not set", str(error))

    def test_bad_with_identity(self) -> None:
        """A worker that knows itself goes on with the error, to report it."""
        options = parsed({**ON_VAST, "VESPA_BENCHMARK": ""})
        self.assertIsNone(options.settings)
        self.assertIn("VESPA_BENCHMARK is empty", options.problem)
        assert options.identity is not None
        self.assertEqual(options.identity.mtoken, TOKEN)

    def test_reactor_is_left(self) -> None:
        """A reactor that is there already, because --reactor named one or for whatever reason, stays."""
        before = sys.modules["twisted.internet.reactor"]
        install_reactor()
        self.assertIs(sys.modules["twisted.internet.reactor"], before)


class ParentOptions(usage.Options):
    """twistd's own options, as far as the log goes."""

    def __init__(self, **chosen: object) -> None:
        super().__init__()
        self.update({"nodaemon": True, "debug": False, "logger": None, "syslog": False, "logfile": None, **chosen})


class LogTests(SynchronousTestCase):
    def test_ours_on_stdout(self) -> None:
        """In the foreground the log is ours."""
        for chosen in ({}, {"logfile": "-"}, {"nodaemon": False, "debug": True}):
            parent = ParentOptions(**chosen)
            use_our_log(parent)
            self.assertEqual(parent["logger"], "vespa.tap.log_observer")

    def test_theirs_otherwise(self) -> None:
        """A log that was asked for by name, and that of a daemon, stay twistd's."""
        for chosen in ({"nodaemon": False}, {"logger": "x.y"}, {"syslog": True}, {"logfile": "a.log"}):
            parent = ParentOptions(**chosen)
            use_our_log(parent)
            self.assertEqual(parent["logger"], chosen.get("logger"))  # type: ignore[attr-defined]

    def test_twist(self) -> None:
        """A program without these options keeps its log."""
        parent = usage.Options()
        use_our_log(parent)
        self.assertEqual(dict(parent), {})


class ServiceTests(SynchronousTestCase):
    def test_tree(self) -> None:
        """The tree takes the signals first, and starts the worker after that."""
        service = makeService(parsed(QUICK_START))
        verifyObject(IService, service)
        first, worker = list(service)  # type: ignore[call-overload]
        self.assertIsInstance(first, Signals)
        verifyObject(IService, worker)

    def test_nobody_to_tell(self) -> None:
        """An endpoint that is none ends the process where there is nobody to tell."""
        error = self.assertRaises(SystemExit, makeService, parsed({**QUICK_START, "VESPA_LISTEN": "bogus:1"}))
        self.assertIn("bogus", str(error))

    def test_endpoints(self) -> None:
        """What is wrong with an endpoint is told, whatever it is."""
        for endpoint in (
            "bogus:1",
            "tcp",
            "tcp:x",
            "tcp:1:nope=1",
            "ssl:1:privateKey=/nowhere",
            f"ssl:1:privateKey={__file__}",
        ):
            self.assertIn("cannot listen on", file_problem(reactor, Settings(listen=endpoint)))
        self.assertEqual(file_problem(reactor, Settings(listen="tcp:0")), "")

    def test_roots(self) -> None:
        """Roots that are no certificates are told."""
        self.assertIn("VESPA_BACKEND_CA_FILE", file_problem(reactor, Settings(backend_ca_file=__file__)))

    def test_plugin(self) -> None:
        """twistd knows the worker by the name vespa."""
        (maker,) = [maker for maker in getPlugins(IServiceMaker) if maker.tapname == "vespa"]
        verifyObject(IServiceMaker, maker)
        self.assertIs(maker.options, Options)
        self.assertIs(maker.makeService, makeService)


class CommandTests(SynchronousTestCase):
    def run_command(self, *arguments: str) -> tuple[object, str]:
        output = io.StringIO()
        self.patch(sys, "stdout", output)
        self.patch(sys, "stderr", output)
        try:
            return main(arguments), output.getvalue()
        except SystemExit as exit:
            return exit.code, output.getvalue()

    def test_help(self) -> None:
        """--help names every subcommand and is no error; each of them has its own."""
        code, text = self.run_command("--help")
        self.assertEqual(code, 0)
        for name in ("worker", "demo", "settings", "version"):
            self.assertIn(name, text)
        self.assertEqual(self.run_command("worker", "--help")[0], 0)

    def test_settings(self) -> None:
        """The settings are printed as they are documented."""
        code, text = self.run_command("settings")
        self.assertEqual(code, 0)
        self.assertIn("| `VESPA_BACKEND_URL` |", text)

    def test_mistakes(self) -> None:
        """What is not understood is exit code 2."""
        for arguments in ((), ("fly",), ("version", "x")):
            self.assertEqual(self.run_command(*arguments)[0], 2)

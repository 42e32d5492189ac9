"""Laws of the start: what twistd is told, and what it is handed."""

from __future__ import annotations

import io
import sys
from typing import Any

from twisted.application.service import IService, IServiceMaker
from twisted.internet import reactor
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import CannotListenError
from twisted.logger import Logger
from twisted.plugin import getPlugins
from twisted.python import usage
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.config.test_worker import ON_VAST, QUICK_START, TOKEN
from vespa import client_tap
from vespa.cli import COMMANDS, main
from vespa.client.command.launch import OnWait
from vespa.config.client import ClientSettings
from vespa.config.worker_reading import Settings
from vespa.runtime import signals
from vespa.runtime.signals import Signals
from vespa.tap import Options, check_pidfile, file_problem, install_reactor, makeService, use_our_log


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
        """Settings that cannot be used end the process with everything that is wrong in them."""
        error = self.assertRaises(SystemExit, parsed, {"VESPA_WORKER_PORT": "x"})
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

    def test_pidfile(self) -> None:
        """A pidfile that cannot be written is told before anything starts."""
        error = self.assertRaises(SystemExit, check_pidfile, {"pidfile": "/nowhere/x.pid"})
        self.assertIn("--pidfile=/nowhere/x.pid: there is no such folder", str(error))
        for fine in ("", self.mktemp()):
            check_pidfile({"pidfile": fine})  # type: ignore[arg-type]

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
            "ssl:1:privateKey=/nowhere:sslmethod=TLSv1_2_METHOD",
            f"ssl:1:privateKey={__file__}",
        ):
            said = file_problem(reactor, Settings(listen=endpoint))
            self.assertIn("cannot listen on", said)
            for jargon in ("invalid literal", "Errno", "__init__"):
                self.assertNotIn(jargon, said)
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


CLIENT = {"VAST_ENDPOINT": "chat", "VAST_API_KEY": "endpoint-key-2718", "VESPA_CLIENT_TOKEN": "token-8462"}


def client_options(*arguments: str, environ: dict[str, str] | None = None) -> client_tap.Options:
    options = client_tap.Options(CLIENT if environ is None else environ)
    options.parseOptions(list(arguments))
    return options


class StoppableReactor:
    """A reactor that notes when it is to stop, and what it would do then."""

    def __init__(self) -> None:
        self.stopped = False

    def seconds(self) -> float:
        return 0.0

    def stop(self) -> None:
        self.stopped = True

    def callWhenRunning(self, callable: Any, *args: object) -> None:
        callable(*args)


class Proxy:
    """What the client's service would start."""

    url = "http://127.0.0.1:8010"

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.running = False

    def make(self, reactor: Any, settings: ClientSettings, *, on_wait: OnWait | None = None) -> Proxy:
        return self

    def privilegedStartService(self) -> None:
        """Nothing to do."""

    def startService(self) -> None:
        if self.error is not None:
            raise self.error
        self.running = True

    def stopService(self) -> Deferred[None]:
        self.running = False
        return succeed(None)


class ClientTests(SynchronousTestCase):
    def test_options(self) -> None:
        """The command line goes before the environment; what is wrong is a usage error, all at once."""
        settings = client_options("--port=9000").reading.settings
        self.assertEqual((settings.endpoint, settings.port), ("chat", 9000))
        error = self.assertRaises(SystemExit, client_options, "--port=x", environ={})
        self.assertIn("3 mistakes in the options", str(error))

    def test_plugin(self) -> None:
        """twistd knows the client by the name vespa-client."""
        (maker,) = [maker for maker in getPlugins(IServiceMaker) if maker.tapname == "vespa-client"]
        verifyObject(IServiceMaker, maker)
        self.assertIs(maker.options, client_tap.Options)
        self.assertIs(maker.makeService, client_tap.makeService)

    def test_log(self) -> None:
        """In the foreground the log is ours, at the level that was asked for, and without keys."""
        parent = ParentOptions()
        options = client_tap.Options(CLIENT)
        options.parent = parent
        options.parseOptions(["--debug"])
        self.assertEqual(parent["logger"], "vespa.client_tap.log_observer")
        observer = client_tap.log_observer()
        stream = io.StringIO()
        observer.stream = stream
        observer.hide("found-later")
        Logger(observer=observer).debug("endpoint-key-2718 token-8462 found-later seen")
        self.assertIn("[hidden] [hidden] [hidden] seen", stream.getvalue())

    def test_tree(self) -> None:
        """The tree takes the signals first, and starts the client after that."""
        service = client_tap.makeService(client_options())
        verifyObject(IService, service)
        first, client = list(service)  # type: ignore[call-overload]
        self.assertIsInstance(first, Signals)
        verifyObject(IService, client)

    def test_run(self) -> None:
        """The proxy starts with the service and stops with it."""
        proxy = Proxy()
        client = client_tap.Client(StoppableReactor(), client_options().reading, lambda key: None, make=proxy.make)
        client.startService()
        self.assertTrue(proxy.running)
        self.successResultOf(client.stopService())
        self.assertFalse(proxy.running)

    def test_failure(self) -> None:
        """A port that is taken, and a bug, end the process with exit code 1."""
        codes: list[int] = []
        self.patch(signals, "exit_with", codes.append)
        for error in (CannotListenError("127.0.0.1", 8010, OSError("taken")), KeyError("oops")):
            reactor = StoppableReactor()
            client = client_tap.Client(reactor, client_options().reading, lambda key: None, make=Proxy(error).make)
            client.startService()
            self.assertTrue(reactor.stopped)
            self.successResultOf(client.stopService())
        self.assertEqual(codes, [1, 1])
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)


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
        self.assertEqual(list(COMMANDS), ["worker", "client", "load", "demo", "settings", "version"])
        for name in COMMANDS:
            self.assertIn(name, text)
            self.assertEqual(self.run_command(name, "--help")[0], 0, name)

    def test_settings(self) -> None:
        """The settings are printed as they are documented."""
        code, text = self.run_command("settings")
        self.assertEqual(code, 0)
        self.assertIn("| `VESPA_BACKEND_URL` |", text)

    def test_mistakes(self) -> None:
        """What is not understood is exit code 2."""
        for arguments in ((), ("fly",), ("version", "x"), ("client", "--fly"), ("client", "x")):
            self.assertEqual(self.run_command(*arguments)[0], 2)

"""Laws of the client's start by twistd."""

from __future__ import annotations

import io
import subprocess
import sys
from typing import Any, cast

from twisted.application.service import IService, IServiceMaker
from twisted.internet.error import CannotListenError
from twisted.logger import Logger
from twisted.plugin import getPlugins
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.client.command.fake_proxy import Proxy
from tests.runtime.test_process import ParentOptions
from vespa import client_tap
from vespa.runtime import process, signals
from vespa.runtime.log_level import LevelSignal
from vespa.runtime.signals import Signals

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


class ClientTests(SynchronousTestCase):
    def test_options(self) -> None:
        """The command line goes before the environment; what is wrong is a usage error, all at once."""
        settings = client_options("--port=9000").reading.settings
        self.assertEqual((settings.endpoint, settings.port), ("chat", 9000))
        error = self.assertRaises(SystemExit, client_options, "--port=x", environ={})
        self.assertIn("3 mistakes in the options", str(error))

    def test_imports(self) -> None:
        """A daemon draws nothing, and loads nothing for it."""
        code = "import sys, vespa.client_tap; print([name for name in sys.modules if name.partition('.')[0] == 'rich'])"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        self.assertEqual((done.stdout, done.stderr), ("[]\n", ""))

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
        self.assertEqual(parent["logger"], "vespa.runtime.process.log_observer")
        observer = process.log_observer()
        stream = io.StringIO()
        observer.stream = stream
        observer.hide("found-later")
        Logger(observer=observer).debug("endpoint-key-2718 token-8462 found-later seen")
        self.assertIn("[hidden] [hidden] [hidden] seen", stream.getvalue())

    def test_tree(self) -> None:
        """The tree takes the signals first, and starts the client after that."""
        service = client_tap.makeService(client_options())
        verifyObject(IService, service)
        first, second, client = list(service)  # type: ignore[call-overload]
        self.assertIsInstance(first, Signals)
        self.assertIsInstance(second, LevelSignal)
        verifyObject(IService, client)

    def test_run(self) -> None:
        """The proxy starts with the service and stops with it."""
        proxy: Any = Proxy()
        client = client_tap.make_command(StoppableReactor(), client_options(), make=proxy.make)
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
            client = client_tap.make_command(reactor, client_options(), make=cast(Any, Proxy(error)).make)
            client.startService()
            self.assertTrue(reactor.stopped)
            self.successResultOf(client.stopService())
        self.assertEqual(codes, [1, 1])
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)

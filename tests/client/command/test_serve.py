"""Laws of `vespa-proxy client`: what it says, asks and returns; with a proxy that is none. `test_start` runs it."""

from __future__ import annotations

import errno
import io
from typing import Any

from attrs import evolve
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError, ReactorNotRunning
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.client.command.fake_proxy import Proxy
from tests.client.command.test_choosing import Somebody
from tests.processes import until
from tests.simulator_support.deployment import ControlledDeployment
from vespa.client.command.serve import INTERRUPTED, Command, how_to_use
from vespa.config.client import ClientSettings
from vespa.config.client_reading import ClientReading
from vespa.runtime.terminal import Terminal

ACCOUNT_KEY = "account-key"
ENDPOINT_KEY = "endpoint-key"


class Reactor:
    """The reactor, but that to stop it is only noted."""

    def __init__(self) -> None:
        self.stopped = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(reactor, name)

    def stop(self) -> None:
        self.stopped += 1
        if self.stopped > 1:
            raise ReactorNotRunning


class CommandCase(TestCase):
    timeout = 60

    async def setUp(self) -> None:  # type: ignore[override]
        self.deployment = ControlledDeployment(reactor, ".", {})
        self.addCleanup(lambda: Deferred.fromCoroutine(self.deployment.stop()))
        await self.deployment.start_autoscaler()
        self.reactor = Reactor()
        self.proxy = Proxy()
        self.out = io.StringIO()
        self.err = io.StringIO()
        self.hidden: list[str] = []
        self.friendly = False
        self.waits: list[tuple[str, float]] = []
        self.settings = ClientSettings(endpoint="demo", console_url=self.deployment.autoscaler_url)

    @property
    def said(self) -> str:
        return self.out.getvalue()

    @property
    def errors(self) -> str:
        return self.err.getvalue()

    def command(
        self, asks: Somebody | None = None, *, listing: bool = False, workers: bool = False, **fields: Any
    ) -> Command:
        make: Any = self.proxy.make
        return Command(
            self.reactor,
            ClientReading(settings=evolve(self.settings, **fields), listing=listing, lists_workers=workers),
            say=Terminal(self.out, {}).print,
            complain=lambda why: self.err.write(f"vespa-proxy client: {why}\n"),
            asks=asks,
            friendly=self.friendly,
            on_wait=lambda status, seconds: self.waits.append((status, seconds)),
            hide=self.hidden.append,
            make=make,
        )

    async def run_to_end(self, command: Command) -> int:
        """Run a command that ends by itself."""
        command.startService()
        await until(lambda: self.reactor.stopped, 20, "the end")
        await command.stopService()
        return command.code

    async def run_to_ready(self, command: Command) -> None:
        command.startService()
        await until(lambda: self.proxy.running, 20, "ready")


class ServeTests(CommandCase):
    async def test_endpoint_key(self) -> None:
        """With the endpoint's key the console is not asked; one line says that the proxy is ready."""
        command = self.command(endpoint_key=ENDPOINT_KEY, console_url="http://127.0.0.1:1")
        await self.run_to_ready(command)
        self.assertEqual(self.said, "ready: http://127.0.0.1:8010 → endpoint demo\n")
        await command.stopService()
        self.assertEqual((command.code, self.proxy.running, self.errors), (0, False, ""))

    async def test_debug_worker(self) -> None:
        """With a worker to debug, nothing is asked and nothing is looked up."""
        command = self.command(endpoint="", debug_worker_url="http://localhost:3000", console_url="http://127.0.0.1:1")
        await self.run_to_ready(command)
        self.assertEqual(
            self.said,
            "ready: http://127.0.0.1:8010 → worker http://localhost:3000 (VAST_DEBUG_WORKER_URL), without signatures\n",
        )
        await command.stopService()

    async def test_account_key(self) -> None:
        """With the account's key the endpoint's is found first, by the endpoint's name or id, and hidden in the log."""
        for name in ("demo", "1"):
            command = self.command(endpoint=name, account_key=ACCOUNT_KEY)
            await self.run_to_ready(command)
            assert self.proxy.settings is not None
            self.assertEqual((self.proxy.settings.endpoint, self.proxy.settings.endpoint_key), ("demo", ENDPOINT_KEY))
            self.assertIn(ENDPOINT_KEY, self.hidden)
            await command.stopService()

    async def test_wrong_account_key(self) -> None:
        """An account key that is refused ends the command; its text is not shown."""
        code = await self.run_to_end(self.command(account_key="wrong-key-5926"))
        self.assertEqual(code, 1)
        self.assertIn("does not accept the account key (401)", self.errors)
        self.assertNotIn("wrong-key-5926", self.errors + self.said)

    async def test_wrong_endpoint(self) -> None:
        """The same for an unknown endpoint, with the names that exist."""
        self.assertEqual(await self.run_to_end(self.command(endpoint="dem", account_key=ACCOUNT_KEY)), 1)
        self.assertEqual(self.errors, "vespa-proxy client: the account has no endpoint 'dem'; did you mean demo?\n")

    async def test_console_away(self) -> None:
        """A console that is away does not keep the proxy from its start: it has the account's key."""
        command = self.command(account_key=ACCOUNT_KEY, console_url="http://127.0.0.1:1")
        await self.run_to_ready(command)
        assert self.proxy.settings is not None
        self.assertEqual((self.proxy.settings.endpoint_key, self.proxy.settings.account_key), ("", ACCOUNT_KEY))
        await command.stopService()
        self.assertEqual(command.code, 0)

    async def test_taken_port(self) -> None:
        """A port that cannot be had is one sentence."""
        for number, text in (
            (
                errno.EADDRINUSE,
                "cannot listen on 127.0.0.1 port 8010: Address already in use; another program listens there",
            ),
            (errno.EACCES, "cannot listen on 127.0.0.1 port 8010: Permission denied"),
        ):
            self.err = io.StringIO()
            self.reactor.stopped = 0
            self.proxy.error = CannotListenError("127.0.0.1", 8010, OSError(number, "?"))
            self.assertEqual(await self.run_to_end(self.command(endpoint_key="key")), 1)
            self.assertIn(text, self.errors)
            self.assertEqual(self.errors.count("\n"), 1)

    async def test_bad_roots(self) -> None:
        """Invalid roots are an error before the first question."""
        self.assertEqual(await self.run_to_end(self.command(endpoint_key="key", worker_ca=__file__)), 1)
        self.assertIn("holds no certificate", self.errors)
        self.assertIsNone(self.proxy.settings)

    async def test_bad_admin_endpoint(self) -> None:
        """An endpoint string for the admin port that is malformed is an error of the start, which names the option."""
        self.assertEqual(await self.run_to_end(self.command(endpoint_key="key", admin_listen="tcp:x")), 1)
        self.assertIn("--admin-listen='tcp:x': 'x' must be a whole number", self.errors)
        self.assertIsNone(self.proxy.settings)

    async def test_bad_settings(self) -> None:
        """An error that appears only when the proxy is made is printed, too."""
        self.proxy.error = ValueError("no such thing")
        self.assertEqual(await self.run_to_end(self.command(endpoint_key="key")), 1)
        self.assertEqual(self.errors, "vespa-proxy client: no such thing\n")

    async def test_bug(self) -> None:
        """An unexpected error is logged with its traceback, and gives exit code 1."""
        self.proxy.error = KeyError("oops")
        self.assertEqual(await self.run_to_end(self.command(endpoint_key="key")), 1)
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)

    async def test_drain(self) -> None:
        """The end waits for what is under way, and then clears the live line."""
        self.proxy.drained = Deferred()
        command = self.command(endpoint_key="key")
        await self.run_to_ready(command)
        ended = command.stopService()
        self.assertNoResult(ended)
        self.proxy.drained.callback(None)
        await ended
        self.assertEqual(self.waits, [("", 0.0)])

    async def test_friendly(self) -> None:
        """On a terminal it says what to type where."""
        self.friendly = True
        command = self.command(endpoint_key="key")
        await self.run_to_ready(command)
        self.assertIn('OpenAI(base_url="http://localhost:8010/v1", api_key="unused")', self.said)
        self.assertIn("curl http://localhost:8010/v1/models\n", self.said)
        self.assertIn("Watch it at http://localhost:9465.", self.said)
        await command.stopService()

    async def test_ended_early(self) -> None:
        """An end during a call of the console is no error if the user was asked nothing."""
        command = self.command(account_key=ACCOUNT_KEY)
        command.startService()
        await command.stopService()
        self.assertEqual((command.code, self.proxy.settings), (0, None))

    def test_never_begun(self) -> None:
        """Ended before it began, it has ended."""
        self.successResultOf(self.command(endpoint_key="key").stopService())


class AskTests(CommandCase):
    async def test_choice(self) -> None:
        """With no endpoint named: key, endpoint and port are asked for, and what was chosen is served."""
        somebody = Somebody("wrong-key", ACCOUNT_KEY, "1", "9000")
        command = self.command(somebody, endpoint="")
        await self.run_to_ready(command)
        assert self.proxy.settings is not None
        found = self.proxy.settings
        self.assertEqual((found.endpoint, found.endpoint_key, found.port), ("demo", ENDPOINT_KEY, 9000))
        self.assertEqual(len(somebody.hidden), 2)
        await command.stopService()
        self.assertEqual(command.code, 0)

    async def test_end_of_input(self) -> None:
        """An end of the input before the last answer is an error."""
        self.assertEqual(await self.run_to_end(self.command(Somebody(), endpoint="")), 1)
        self.assertEqual(self.errors, "vespa-proxy client: nothing was chosen\n")

    async def test_interrupted(self) -> None:
        """Ended at a question, nothing was done, and the exit code is that of an interrupt."""

        class Slow(Somebody):
            async def ask(self, prompt: str, *, hidden: bool = False) -> str:
                await Deferred()
                return ""

        command = self.command(Slow(), endpoint="")
        command.startService()
        await command.stopService()
        self.assertEqual((command.code, self.proxy.settings), (INTERRUPTED, None))


class ListTests(CommandCase):
    async def test_list(self) -> None:
        """The list is a table, without keys, and the end."""
        self.assertEqual(await self.run_to_end(self.command(listing=True, account_key=ACCOUNT_KEY)), 0)
        self.assertEqual(self.said.splitlines()[1].split(), ["demo", "1", "active", "1", "4", "1", "0.9"])
        self.assertNotIn("key", self.said)
        self.assertIsNone(self.proxy.settings)

    async def test_workers(self) -> None:
        """The workers of the endpoints follow, without keys."""
        fields: dict[str, Any] = {"account_key": ACCOUNT_KEY, "autoscaler_url": self.deployment.autoscaler_url}
        self.assertEqual(await self.run_to_end(self.command(listing=True, workers=True, **fields)), 0)
        self.assertEqual(self.said.splitlines()[2:], ["", "demo: no workers"])
        self.deployment.autoscaler.totals.of(31).max_perf = 250.0
        self.reactor.stopped = 0
        self.assertEqual(await self.run_to_end(self.command(listing=True, workers=True, **fields)), 0)
        self.assertEqual(self.said.splitlines()[-1].split()[:4], ["demo", "31", "standby", "0"])
        self.assertNotIn("key", self.said)

    async def test_none(self) -> None:
        """An account without endpoints is no error."""
        self.deployment.autoscaler.endpoints.clear()
        self.assertEqual(await self.run_to_end(self.command(listing=True, account_key=ACCOUNT_KEY)), 0)
        self.assertEqual(self.said, "the account has no endpoints\n")

    async def test_errors(self) -> None:
        """A console that refuses or is away is one sentence and exit code 1."""
        wrong: tuple[tuple[dict[str, Any], str], ...] = (
            ({"account_key": "wrong"}, "does not accept"),
            ({"account_key": ACCOUNT_KEY, "console_url": "http://127.0.0.1:1"}, "cannot be reached"),
        )
        for fields, text in wrong:
            self.err = io.StringIO()
            self.reactor.stopped = 0
            self.assertEqual(await self.run_to_end(self.command(listing=True, **fields)), 1)
            self.assertIn(text, self.errors)
            self.assertEqual(self.errors.count("\n"), 1)


class TextTests(SynchronousTestCase):
    def test_token(self) -> None:
        """If callers need a token, the text names its variable and does not show it."""
        text = how_to_use("http://127.0.0.1:9000", ClientSettings(endpoint="e", token="t0ken-7531"))
        self.assertIn('base_url="http://localhost:9000/v1", api_key=os.environ["VESPA_CLIENT_TOKEN"]', text)
        self.assertIn("Bearer $VESPA_CLIENT_TOKEN", text)
        self.assertNotIn("t0ken-7531", text)
        self.assertNotIn("Watch it", text)

"""Laws of the client's options: one table for command line, environment and documentation."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import attrs
from twisted.trial.unittest import SynchronousTestCase

from vespa.config.client import LIST, WORKERS, ClientSettings
from vespa.config.client_reading import ClientReading, read
from vespa.config.commands import CLIENT, TWISTD_CLIENT
from vespa.config.key_files import KeyFile
from vespa.config.reader import Given, SettingsError
from vespa.config.schema import rows

ROWS = [row for row in rows(ClientSettings) if row.flag]
SECRET = "a-very-secret-key"
ENOUGH = {"VAST_ENDPOINT": "chat", "VAST_API_KEY": SECRET}


def reading(
    *arguments: str, environ: dict[str, str] | None = None, files: dict[str, KeyFile] | None = None, **more: Any
) -> ClientReading:
    return read(
        CLIENT.parse(arguments),
        ENOUGH if environ is None else environ,
        read_file=lambda path: (files or {}).get(path),
        readable=lambda path: path == "/ca.pem",
        **more,
    )


def settings(*arguments: str, **more: Any) -> ClientSettings:
    return reading(*arguments, **more).settings


class TableTests(SynchronousTestCase):
    def test_flags(self) -> None:
        """Every field but two has a flag, and no two have the same; --list and --workers are the command's own."""
        flags = [row.flag for row in CLIENT.rows if row.flag]
        self.assertEqual(len(flags), len(set(flags)))
        self.assertEqual(
            [row.attribute for row in rows(ClientSettings) if not row.flag], ["replay_bytes", "otlp_endpoint"]
        )
        for own in (LIST, WORKERS):
            self.assertIn(own, CLIENT.rows)
            self.assertNotIn(own, TWISTD_CLIENT.rows)

    def test_nothing_given(self) -> None:
        """With only the required values, the settings have their defaults."""
        self.assertEqual(settings(), ClientSettings(endpoint="chat", endpoint_key=SECRET))

    def test_secrets(self) -> None:
        """A field is hidden in the repr if, and only if, the table calls it a secret."""
        hidden = {field.name for field in attrs.fields(ClientSettings) if not field.repr}
        self.assertEqual({row.attribute for row in rows(ClientSettings) if row.secret}, hidden)
        self.assertEqual(hidden, {"endpoint_key", "account_key", "token", "admin_token"})


class GivenTests(SynchronousTestCase):
    def test_everything(self) -> None:
        """Each option reaches its field."""
        found = settings(
            *"--endpoint=e --api-key=key --port=0 --host=::1 --token=t0ken --allow-host=A.local --allow-host=b".split(),
            *"--instance=alpha --autoscaler-url=http://a/ --console-url=https://c --worker-ca=/ca.pem".split(),
            *"--dialect=OFFICIAL --default-cost=2.5 --cost-from-tokens --waiting-pings --timeout=0".split(),
            *"--attempts=1 --max-connections=7 --max-connections-per-host=3 --drain-timeout=0.5 --debug".split(),
            environ={},
        )
        self.assertEqual(
            found,
            ClientSettings(
                endpoint="e",
                endpoint_key="key",
                port=0,
                host="::1",
                token="t0ken",
                allow_hosts=("a.local", "b"),
                instance="alpha",
                autoscaler_url="http://a",
                console_url="https://c",
                worker_ca="/ca.pem",
                dialect="official",
                default_cost=2.5,
                cost_from_tokens=True,
                waiting_pings=True,
                timeout=0.0,
                attempts=1,
                max_connections=7,
                max_connections_per_host=3,
                drain_timeout=0.5,
                debug=True,
            ),
        )

    def test_environment(self) -> None:
        """Each variable reaches its field."""
        values = {
            "VAST_ENDPOINT": "e",
            "VAST_API_KEY": "key",
            "VESPA_CLIENT_PORT": "9000",
            "VESPA_CLIENT_TOKEN": "t0ken",
            "VESPA_CLIENT_ALLOW_ORIGIN": "app://obsidian.md, http://localhost:3000",
            "VESPA_CLIENT_PASS": "cookie,authorization",
            "VAST_AUTOSCALER_URL": "http://a",
            "VAST_CONSOLE_URL": "http://c",
            "VAST_DEBUG_WORKER_URL": "http://d",
            "VESPA_TIMEOUT": "5",
            "VESPA_IDLE_TIMEOUT": "4",
            "VESPA_FIRST_TOKEN_TIMEOUT": "3",
            "VESPA_CLIENT_JOBS": "comfyui",
            "VESPA_MAX_CONNECTIONS": "6",
            "VESPA_MAX_CONNECTIONS_PER_HOST": "7",
            "VESPA_TRANSPORT": "stock",
            "VESPA_CLIENT_ADMIN_LISTEN": "unix:/run/admin.sock",
            "VESPA_CLIENT_ADMIN_TOKEN": "adm1n",
            "VESPA_ACCESS_LOG": "all",
            "VESPA_LOG_FORMAT": "json",
            "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318",
            "VESPA_REQUEST_ID": "true",
            "VESPA_STREAM_ERRORS": "true",
        }
        self.assertEqual({row.name for row in ROWS if row.name} - values.keys(), {"VAST_ACCOUNT_KEY"})
        found = settings(environ=values)
        for row in ROWS:
            if row.many:
                continue
            if row.name in values and row.parse is not None:
                self.assertEqual(getattr(found, row.attribute), row.parse(values[row.name]), row.name)

        self.assertEqual(found.allow_origins, ("app://obsidian.md", "http://localhost:3000"))

        self.assertEqual(found.passes, ("cookie", "authorization"))

    def test_passing_is_warned_of(self) -> None:
        """A warning says who receives passed cookies or credentials; the official dialect cannot pass credentials."""
        found = reading("--pass=cookie", "--pass=AUTHORIZATION", environ=ENOUGH)
        self.assertEqual(found.settings.passes, ("cookie", "authorization"))
        self.assertEqual(len([line for line in found.warnings if "rented machine" in line]), 2)
        self.assertRaises(SettingsError, reading, "--pass=authorization", "--dialect=official", environ=ENOUGH)
        self.assertRaises(SettingsError, reading, "--pass=x-api-key", environ=ENOUGH)

    def test_origins(self) -> None:
        """Origins are accepted as browsers write them; one that would allow every page is refused with the reason."""
        given = ("http://LOCALHOST:3000", "https://a.example:443", "tauri://localhost", "chrome-extension://abc")
        found = settings(*(f"--allow-origin={each}" for each in given), environ=ENOUGH)
        self.assertEqual(
            found.allow_origins,
            ("http://localhost:3000", "https://a.example", "tauri://localhost", "chrome-extension://abc"),
        )
        for text, why in (
            ("*", "every web page"),
            ("http://*.example", "every web page"),
            ("null", "sandboxed"),
            ("localhost:3000", "without a path"),
            ("http://localhost:3000/", "without a path"),
            ("http://u@localhost", "(hidden)"),
        ):
            with self.assertRaises(SettingsError) as caught:
                settings(f"--allow-origin={text}", environ=ENOUGH)
            self.assertIn(why, str(caught.exception))

    def test_order(self) -> None:
        """The command line takes precedence over the environment, and the last of several values over the others."""
        environ = {**ENOUGH, "VESPA_CLIENT_PORT": "1"}
        self.assertEqual(settings(environ=environ).port, 1)
        self.assertEqual(settings("--port=2", "--port=3", environ=environ).port, 3)

    def test_empty(self) -> None:
        """An empty value counts as not given, in the environment and on the command line."""
        environ = {**ENOUGH, "VESPA_CLIENT_PORT": " ", "VESPA_TIMEOUT": ""}
        found = settings("--endpoint=", "--allow-host=", environ=environ)
        self.assertEqual(found, ClientSettings(endpoint="chat", endpoint_key=SECRET))

    def test_port_given(self) -> None:
        """The result says whether a port was given: if not, the command may ask the user."""
        self.assertFalse(reading().port_given)
        self.assertTrue(reading("--port=8010").port_given)
        self.assertTrue(reading(environ={**ENOUGH, "VESPA_CLIENT_PORT": "1"}).port_given)

    def test_localhost(self) -> None:
        """The name localhost and brackets are understood."""
        for raw, host in (("localhost", "127.0.0.1"), ("[::1]", "::1"), ("127.0.0.2", "127.0.0.2")):
            self.assertEqual(settings(f"--host={raw}").host, host)

    def test_command_line(self) -> None:
        """An argument without an option is refused, and the message does not show it."""
        for arguments in (
            ["--api-kye=" + SECRET],
            [SECRET],
            ["--debug=" + SECRET],
            ["--api-key"],
            ["--port=1", SECRET],
        ):
            error = self.assertRaises(SettingsError, reading, *arguments)
            self.assertEqual(len(error.problems), 1)
            self.assertNotIn(SECRET, str(error))

    def test_keys_are_not_shown(self) -> None:
        """The given options have the keys, and their repr does not show them."""
        found = CLIENT.parse([f"--api-key={SECRET}", f"--token={SECRET}"])
        self.assertEqual(found.texts["api-key"], [SECRET])
        self.assertNotIn(SECRET, repr(found))

    def test_list_is_the_command_s(self) -> None:
        """A daemon lists nothing."""
        self.assertEqual(CLIENT.parse(["--list"]).texts, {"list": [""]})
        self.assertEqual(len(TWISTD_CLIENT.parse(["--list"]).problems), 1)


class MistakeTests(SynchronousTestCase):
    def problems(self, *arguments: str, **more: Any) -> list[str]:
        error: SettingsError = self.assertRaises(SettingsError, reading, *arguments, **more)
        self.assertNotIn(SECRET, str(error))
        return list(error.problems)

    def test_each(self) -> None:
        """The error names the option or variable of a value out of its range."""
        for argument in (
            "--port=65536",
            "--port=x",
            "--port=-1",
            "--attempts=0",
            "--timeout=-1",
            "--timeout=inf",
            "--max-connections=1.5",
            "--default-cost=nan",
            "--default-cost=-2",
            "--dialect=klingon",
            "--instance=beta",
            "--host=example.org",
            "--allow-host=a:80",
            "--autoscaler-url=run.vast.ai",
            "--console-url=http://a,http://b",
            "--worker-ca=/nowhere.pem",
            "--endpoint=a\x1b[2J",
        ):
            (problem,) = self.problems(argument)
            self.assertTrue(problem.startswith(argument.partition("=")[0] + "="), problem)
            self.assertTrue(problem.isprintable())
        (problem,) = self.problems(environ={**ENOUGH, "VESPA_CLIENT_PORT": "x"})
        self.assertEqual(problem, "VESPA_CLIENT_PORT='x': must be a whole number")

    def test_all_at_once(self) -> None:
        """One error names all mistakes."""
        environ = {"VESPA_CLIENT_PORT": "x", "VESPA_TIMEOUT": "y", "VESPA_CLIENT_TOKN": "z", **KeyTests.HOME}
        error = self.assertRaises(SettingsError, reading, "--host=0.0.0.0", "--dialect=x", environ=environ)
        self.assertEqual(len(error.problems), 6)
        for part in (
            "6 mistakes in the options:",
            "VESPA_CLIENT_PORT='x'",
            "VESPA_TIMEOUT='y'",
            "--dialect='x'",
            "--host='0.0.0.0'",
            "no endpoint: name it with --endpoint or VAST_ENDPOINT",
            "no key: set VAST_API_KEY",
            f"{KeyTests.NEWER} or {KeyTests.OLDER}",
            "VESPA_CLIENT_TOKN is not a setting; did you mean VESPA_CLIENT_TOKEN?",
        ):
            self.assertIn(part, str(error))

    def test_secrets(self) -> None:
        """The error for an invalid key does not show it."""
        for flag, variable in (
            ("api-key", "VAST_API_KEY"),
            ("account-key", "VAST_ACCOUNT_KEY"),
            ("token", "VESPA_CLIENT_TOKEN"),
        ):
            self.assertIn(f"--{flag}=(hidden)", self.problems(f"--{flag}={SECRET} x")[0])
            self.assertIn(f"{variable}=(hidden)", self.problems(environ={**ENOUGH, variable: f"{SECRET}\n\nx"})[0])
        self.assertIn("(hidden)", self.problems(f"--console-url=http://u:{SECRET}@a/")[0])

    def test_beyond_loopback(self) -> None:
        """An address that others reach needs a token."""
        for host in ("0.0.0.0", "::", "192.0.2.1"):
            self.assertIn("VESPA_CLIENT_TOKEN", self.problems(f"--host={host}")[0])
            self.assertEqual(settings(f"--host={host}", environ={**ENOUGH, "VESPA_CLIENT_TOKEN": "t"}).host, host)
        for host in ("127.0.0.1", "127.1.2.3", "::1"):
            self.assertEqual(settings(f"--host={host}").host, host)

    def test_needed(self) -> None:
        """An endpoint and one of the two keys are needed; a list needs the account's."""
        self.assertEqual(len(self.problems(environ={})), 2)
        self.assertEqual(len(self.problems(environ={"VAST_ENDPOINT": "e"})), 1)
        self.assertEqual(len(self.problems(environ={"VAST_ACCOUNT_KEY": SECRET})), 1)
        self.assertIn("no account key: set VAST_ACCOUNT_KEY", self.problems("--list", environ=ENOUGH)[0])
        self.assertTrue(reading("--list", environ={"VAST_ACCOUNT_KEY": SECRET}).listing)

    def test_workers(self) -> None:
        """--workers goes with --list."""
        self.assertTrue(reading("--list", "--workers", environ={"VAST_ACCOUNT_KEY": SECRET}).lists_workers)
        self.assertFalse(reading("--list", environ={"VAST_ACCOUNT_KEY": SECRET}).lists_workers)
        self.assertEqual(self.problems("--workers"), ["--workers goes with --list"])

    def test_debug_worker(self) -> None:
        """With a worker to debug, neither an endpoint nor a key is needed, except for a list."""
        environ = {"VAST_DEBUG_WORKER_URL": "http://localhost:3000/"}
        self.assertEqual(settings(environ=environ).debug_worker_url, "http://localhost:3000")
        self.assertIn("no account key", self.problems("--list", environ=environ)[0])

    def test_wrong_debug_worker(self) -> None:
        """A wrong URL of a worker to debug is the only mistake: who names one needs neither an endpoint nor a key."""
        problems = self.problems(environ={"VAST_DEBUG_WORKER_URL": "localhost:3000"})
        self.assertEqual([each.partition("=")[0] for each in problems], ["VAST_DEBUG_WORKER_URL"])

    def test_somebody_to_ask(self) -> None:
        """If the user can be asked, endpoint and key may both be missing; with an endpoint, the key is required."""
        self.assertEqual(settings(environ={}, can_ask=True), ClientSettings(endpoint=""))
        self.assertTrue(reading("--list", environ={}, can_ask=True).listing)
        self.assertEqual(len(self.problems(environ={"VAST_ENDPOINT": "e"}, can_ask=True)), 1)
        self.assertEqual(len(self.problems("--port=x", environ={}, can_ask=True)), 1)


class KeyTests(SynchronousTestCase):
    FOLDER = os.path.abspath(os.sep + "h")
    HOME = {"HOME": FOLDER, "USERPROFILE": FOLDER}
    NEWER = os.path.join(FOLDER, ".config", "vastai", "vast_api_key")
    OLDER = os.path.join(FOLDER, ".vast_api_key")

    def key(self, *arguments: str, files: dict[str, str] | None = None, **environ: str) -> str:
        found = settings(
            "--endpoint=e",
            *arguments,
            environ={**self.HOME, **environ},
            files={path: KeyFile(text) for path, text in (files or {}).items()},
        )
        return found.account_key

    def test_order(self) -> None:
        """Command line, environment, the newer file, the older one."""
        files = {self.NEWER: "newer\n", self.OLDER: "older\n"}
        self.assertEqual(self.key("--account-key=line", VAST_ACCOUNT_KEY="env", files=files), "line")
        self.assertEqual(self.key(VAST_ACCOUNT_KEY="env", files=files), "env")
        self.assertEqual(self.key(files=files), "newer")
        self.assertEqual(self.key(files={self.OLDER: " older "}), "older")
        self.assertEqual(self.key(files={self.NEWER: " \n", self.OLDER: "older"}), "older")

    def test_ignored_file_in_error(self) -> None:
        """Where no key is found, the error names a file that was found and has none."""
        path = os.path.join(self.HOME["HOME"], ".vast_api_key")
        error = self.assertRaises(
            SettingsError,
            reading,
            environ={**self.HOME, "VAST_ENDPOINT": "chat"},
            files={path: KeyFile(f"{SECRET} {SECRET}")},
        )
        self.assertIn(f"{path} is ignored: it does not contain a key", str(error))
        self.assertNotIn(SECRET, str(error))

    def test_endpoint_key_alone(self) -> None:
        """With the endpoint's key, the account's key is not read, except for a list."""

        def never(path: str) -> KeyFile:
            raise AssertionError(path)

        found = read(Given(), {**self.HOME, **ENOUGH, "VAST_ACCOUNT_KEY": "account"}, read_file=never).settings
        self.assertEqual((found.endpoint_key, found.account_key), (SECRET, ""))
        self.assertEqual(read(Given(), {**self.HOME, **ENOUGH}, read_file=never).settings.account_key, "")
        self.assertEqual(self.key("--list", files={self.OLDER: "k"}, **ENOUGH), "k")

    def test_real_files(self) -> None:
        """A key is read from its file. A file that every user can read is allowed, with a warning."""
        home = self.mktemp()
        os.makedirs(home)
        path = Path(home) / ".vast_api_key"
        path.write_text(SECRET + "\n")
        variable = "HOME" if os.name == "posix" else "USERPROFILE"
        for mode, count in ((0o600, 0), (0o644, 1)):
            path.chmod(mode)
            found = read(Given(), {variable: os.path.abspath(home), "VAST_ENDPOINT": "e"})
            # What Windows says of a file's mode says nothing of who may read it.
            expected = count if os.name == "posix" else 0
            self.assertEqual((found.settings.account_key, len(found.warnings)), (SECRET, expected))
            self.assertNotIn(SECRET, str(found))
        if found.warnings:
            self.assertIn("chmod 600", found.warnings[0])

    def test_warned_of_the_command_line(self) -> None:
        """A secret on the command line works, with a warning for each that does not show it."""
        found = reading(f"--api-key={SECRET}", f"--token={SECRET}", environ={"VAST_ENDPOINT": "e"})
        self.assertEqual((found.settings.endpoint_key, found.settings.token), (SECRET, SECRET))
        self.assertEqual(len(found.warnings), 2)
        self.assertIn("use VAST_API_KEY instead of --api-key", found.warnings[0])
        self.assertNotIn(SECRET, repr(found))
        self.assertEqual(reading().warnings, ())

    def test_strangers(self) -> None:
        """An unknown variable with our prefix gets a warning, even if there is no mistake."""
        found = reading(environ={**ENOUGH, "VESPA_CLIENT_PROT": "1", "VESPA_CLIENT_XYZZY": "1", "VAST_FOO": "1"})
        self.assertEqual(
            found.warnings,
            (
                "VESPA_CLIENT_PROT is not a setting; did you mean VESPA_CLIENT_PORT?",
                "VESPA_CLIENT_XYZZY is not a setting",
            ),
        )

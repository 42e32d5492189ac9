"""Laws of the settings: one table, all mistakes in one error, no secret shown."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from vespa.config.commands import CLIENT, LOAD, WORKER
from vespa.config.reader import SettingsError
from vespa.config.schema import rows
from vespa.config.worker import WorkerSettings
from vespa.config.worker_reading import load, read
from vespa.protocol.urls import BaseURL
from vespa.vast.status_report import Identity

TOKEN = "a-token-that-nobody-may-see"
QUICK_START = {
    "VESPA_BACKEND_URL": "http://localhost:8000",
    "VESPA_BENCHMARK": "benchmarks.openai_chat:benchmark",
    "VESPA_WORKER_PORT": "3001",
    "VESPA_UNSECURED": "true",
}
ON_VAST = {
    "CONTAINER_ID": "12345",
    "MASTER_TOKEN": TOKEN,
    "PUBLIC_IPADDR": "198.51.100.7",
    "VAST_TCP_PORT_3000": "41234",
    "VESPA_BACKEND_URL": "http://127.0.0.1:18000",
    "VESPA_BENCHMARK": "/srv/mine.py:benchmark",
}


def settings(environ: dict[str, str], **more: Any) -> WorkerSettings:
    found = read(environ, **more)
    if found.error is not None:
        raise found.error
    return found.settings


def problems(environ: dict[str, str]) -> tuple[str, ...]:
    found = read(environ, readable=lambda path: False)
    return found.error.problems if found.error is not None else ()


def identity_if_readable(environ: dict[str, str]) -> Identity | None:
    found = read(environ)
    return found.settings.identity if found.can_report else None


def warnings(environ: dict[str, str]) -> list[str]:
    return list(read(environ).warnings)


class SessionTests(SynchronousTestCase):
    def test_port(self) -> None:
        """The port for the backend has the name of Vast's worker, too. It should not be the worker's own."""
        self.assertEqual(settings({**QUICK_START, "WORKER_HTTP_PORT": "9000"}).session_port, 9000)
        both = {**QUICK_START, "WORKER_HTTP_PORT": "9000", "VESPA_HTTP_PORT": "off"}
        self.assertEqual(settings(both).session_port, 0)
        (warning,) = warnings({**QUICK_START, "WORKER_HTTP_PORT": "3001"})
        self.assertIn("WORKER_HTTP_PORT is the worker's own port", warning)
        elsewhere = {**QUICK_START, "VESPA_LISTEN": "unix:/run/worker.sock", "VESPA_HTTP_PORT": "3001"}
        self.assertEqual((settings(elsewhere).session_port, warnings(elsewhere)), (3001, []))

    def test_lifetime(self) -> None:
        """There is a longest lifetime in any case; there may be no sessions."""
        self.assertEqual(settings({**QUICK_START, "VESPA_MAX_SESSIONS": "0"}).max_sessions, 0)
        (problem,) = problems({**QUICK_START, "VESPA_MAX_SESSION_LIFETIME": "0"})
        self.assertIn("must be more than 0", problem)


class ModeTests(SynchronousTestCase):
    def test_quick_start(self) -> None:
        """Four variables and nothing of Vast's run a worker that listens on this machine and reports to nobody."""
        found = load(QUICK_START)
        self.assertFalse(found.secured)
        self.assertEqual(found.endpoint, "tcp:port=3001:interface=127.0.0.1:backlog=1024")
        self.assertEqual(found.report_addresses, ())
        self.assertIsNone(found.identity)
        self.assertEqual(found.public_url, "")

    def test_on_vast(self) -> None:
        """With Vast's variables, a worker listens on all addresses, knows its public URL, and has reports to send."""
        found = load(ON_VAST)
        self.assertTrue(found.secured)
        self.assertEqual(found.endpoint, "tcp:port=3000:interface=0.0.0.0:backlog=1024")
        self.assertEqual(found.public_url, "http://198.51.100.7:41234")
        self.assertEqual(found.report_addresses, ("https://run.vast.ai",))
        assert found.identity is not None
        self.assertEqual(
            (found.identity.id, found.identity.mtoken, found.identity.version, found.identity.url),
            (12345, TOKEN, "1.1.0", "http://198.51.100.7:41234"),
        )

    def test_secured_needs(self) -> None:
        """A secured worker with nothing set names all that it needs in one error."""
        message = str(self.assertRaises(SettingsError, load, {}))
        for name in ON_VAST:
            self.assertIn(f"{name} is not set", message)

    def test_port_that_is_not_open(self) -> None:
        """A port that Vast does not map is an error that names the port and those that are mapped."""
        environ = {**ON_VAST, "WORKER_PORT": "28003", "VAST_TCP_PORT_8188": "4", "VAST_TCP_PORT_x": "1"}
        (problem,) = problems(environ)
        self.assertEqual(
            problem,
            "VAST_TCP_PORT_28003 is not set: no public port leads to the worker's port 28003: open it in the template "
            "(-p 28003:28003), or set VESPA_WORKER_PORT to one that is open (3000, 8188)",
        )
        self.assertNotIn("UNSECURED", problem)

    def test_deployment_variables(self) -> None:
        """The variables of Vast's deployments, another product, change nothing and are not warned of."""
        others = {"IS_DEPLOYMENT": "true", "DEPLOYMENT_ID": "7", "CONTAINER_API_KEY": "k", "SERVERLESS": "true"}
        self.assertEqual(load({**ON_VAST, **others}), load(ON_VAST))
        self.assertEqual(warnings({**ON_VAST, **others}), [])

    def test_empty_token(self) -> None:
        """An empty token is as none, and said to be empty."""
        (problem,) = problems({**ON_VAST, "MASTER_TOKEN": " "})
        self.assertIn("MASTER_TOKEN is empty", problem)

    def test_public_port_follows_port(self) -> None:
        """The public port is looked up under the worker's own port."""
        environ = {**ON_VAST, "VESPA_WORKER_PORT": "3111"}
        self.assertEqual([problem.split()[0] for problem in problems(environ)], ["VAST_TCP_PORT_3111"])
        self.assertEqual(load({**environ, "VAST_TCP_PORT_3111": "1"}).public_url, "http://198.51.100.7:1")

    def test_unknown_port_is_not_looked_up(self) -> None:
        """A wrong port is one mistake, not two."""
        (problem,) = problems({**ON_VAST, "VESPA_WORKER_PORT": "many"})
        self.assertIn("VESPA_WORKER_PORT='many'", problem)

    def test_identity_of_unsecured(self) -> None:
        """An unsecured worker sends reports if it has an identity."""
        found = load({**QUICK_START, "CONTAINER_ID": "0", "MASTER_TOKEN": TOKEN, "REPORT_ADDR": "http://a/, http://b"})
        self.assertEqual(found.report_addresses, ("http://a", "http://b"))
        assert found.identity is not None
        self.assertEqual(found.identity.id, 0)

    def test_unsecured_public(self) -> None:
        """An unsecured worker is open to the network only if a setting says so."""
        found = load({**QUICK_START, "VESPA_UNSECURED_PUBLIC": "true"})
        self.assertEqual(found.endpoint, "tcp:port=3001:interface=0.0.0.0:backlog=1024")


class EndpointTests(SynchronousTestCase):
    def test_tls(self) -> None:
        """With TLS the certificate is in the endpoint, quoted as endpoints are."""
        environ = {**ON_VAST, "VESPA_USE_SSL": "yes", "VESPA_SSL_CERT_FILE": "/a:b.crt", "VESPA_SSL_KEY_FILE": "/k"}
        found = settings(environ, readable=lambda path: True)
        self.assertEqual(
            found.endpoint, "ssl:port=3000:interface=0.0.0.0:backlog=1024:privateKey=/k:certKey=/a\\:b.crt"
        )
        self.assertEqual(found.public_url, "https://198.51.100.7:41234")
        self.assertTrue(found.tls)

    def test_tls_is_ours(self) -> None:
        """A certificate is needed where the worker listens with TLS on an endpoint of its own making."""
        for environ, tls in (
            ({"VESPA_USE_SSL": "True"}, True),
            ({"USE_SSL": "1"}, True),
            ({}, False),
            ({"VESPA_USE_SSL": "no", "USE_SSL": "yes"}, False),
            ({"VESPA_USE_SSL": "maybe"}, False),
            ({"USE_SSL": "1", "VESPA_LISTEN": "tcp:1"}, False),
        ):
            self.assertEqual(read(environ).settings.tls, tls, environ)

    def test_unreadable_certificate(self) -> None:
        """A certificate, a key or roots that cannot be read are named."""
        environ = {**ON_VAST, "VESPA_USE_SSL": "1", "VESPA_BACKEND_CA_FILE": "/ca"}
        self.assertEqual(
            problems(environ),
            (
                "VESPA_BACKEND_CA_FILE='/ca': cannot be read",
                "VESPA_SSL_CERT_FILE='/etc/instance.crt': cannot be read",
                "VESPA_SSL_KEY_FILE='/etc/instance.key': cannot be read",
            ),
        )

    def test_listen_overrides(self) -> None:
        """An endpoint given whole is used as it is, and no certificate is looked for."""
        found = settings(
            {**ON_VAST, "VESPA_USE_SSL": "1", "VESPA_LISTEN": "unix:/run/vespa.sock"}, readable=lambda path: False
        )
        self.assertEqual(found.endpoint, "unix:/run/vespa.sock")
        self.assertFalse(found.tls)


class ValueTests(SynchronousTestCase):
    def value(self, name: str, raw: str) -> object:
        attribute = next(row.attribute for row in rows(WorkerSettings) if row.name == name)
        return getattr(settings({**ON_VAST, name: raw}, readable=lambda path: True), attribute)

    def test_every_mistake_at_once(self) -> None:
        """Each wrong variable is named with its value and what is wrong, all in one error."""
        wrong = {
            "CONTAINER_ID": "1_0",
            "REPORT_ADDR": "ftp://x",
            "VAST_TCP_PORT_3000": "0",
            "VESPA_BACKEND_URL": "localhost:8000",
            "VESPA_BENCHMARK": "benchmarks.openai_chat",
            "VESPA_MAX_WAIT_TIME": "-1",
            "VESPA_MAX_COST": "inf",
            "VESPA_METRICS_UPDATE_INTERVAL": "0",
            "VESPA_ALLOW_PARALLEL": "maybe",
            "VESPA_SIGNATURE": "none",
            "VESPA_HEALTHCHECK_ENDPOINT": "health",
            "VESPA_LOG_LEVEL": "loud",
        }
        found = problems({**ON_VAST, **wrong})
        self.assertEqual(len(found), len(wrong))
        for name, value in wrong.items():
            self.assertTrue(any(line.startswith(f"{name}={value!r}: ") for line in found), name)

    def test_fallbacks(self) -> None:
        """The unprefixed names of today's templates stand in for their twins, which win."""
        older = {"WORKER_PORT": "3001", "UNSECURED": "1", "USE_SSL": "0", "VESPA_BACKEND_URL": "http://x"}
        self.assertEqual(load(older).endpoint, "tcp:port=3001:interface=127.0.0.1:backlog=1024")
        both = {**older, "VESPA_WORKER_PORT": "3002"}
        self.assertEqual(load(both).worker_port, 3002)
        self.assertIn("WORKER_PORT='x'", str(self.assertRaises(SettingsError, load, {"WORKER_PORT": "x"})))

    def test_empty_is_unset(self) -> None:
        """A variable that is empty, as templates leave them, counts as one that is not set."""
        self.assertEqual(self.value("VESPA_MAX_QUEUE", "  "), 1000)

    def test_booleans(self) -> None:
        """true/false, 1/0, yes/no and on/off are known in any case."""
        for raw in ("true", "TRUE", "1", "Yes", "on"):
            self.assertIs(self.value("VESPA_CHECK_URL", raw), True)
        for raw in ("false", "False", "0", "NO", "off"):
            self.assertIs(self.value("VESPA_CHECK_URL", raw), False)

    def test_durations(self) -> None:
        """Durations take fractions; nothing that is not finite, or not ASCII, is one."""
        self.assertEqual(self.value("VESPA_MAX_WAIT_TIME", "0.5"), 0.5)
        self.assertEqual(self.value("VESPA_MAX_WAIT_TIME", ".5e1"), 5.0)
        for raw in ("nan", "inf", "1e999", "1_0", "٣", "0x10", "", "5s"):
            if raw:
                self.assertRaises(SettingsError, self.value, "VESPA_MAX_WAIT_TIME", raw)

    def test_words(self) -> None:
        """A choice is known in any case, and a warning by both of its names."""
        self.assertEqual(self.value("VESPA_LOG_LEVEL", "Warning"), "warn")
        self.assertEqual(self.value("VESPA_REPLAY", "REJECT"), "reject")

    def test_backend(self) -> None:
        """A backend is http, https with a path prefix, or a unix socket."""
        for raw, parsed, url in (
            ("http://LocalHost", BaseURL("http", "localhost", 80), "http://localhost"),
            ("https://x.org:8443/a/b/", BaseURL("https", "x.org", 8443, b"/a/b"), "https://x.org:8443/a/b"),
            ("http://[::1]:81", BaseURL("http", "::1", 81), "http://[::1]:81"),
            ("unix:/run/a.sock", BaseURL("http", "localhost", 80, b"", "/run/a.sock"), "unix:/run/a.sock"),
        ):
            found = self.value("VESPA_BACKEND_URL", raw)
            self.assertEqual(found, (parsed,))
            assert isinstance(found, tuple)
            self.assertEqual(found[0].url, url)

    def test_several_backends(self) -> None:
        """Several backends are a list with commas or white space, of any kinds."""
        found = self.value("VESPA_BACKEND_URL", "http://a:1, https://b/x\n unix:/c.sock")
        assert isinstance(found, tuple)
        self.assertEqual([each.url for each in found], ["http://a:1", "https://b/x", "unix:/c.sock"])

    def test_wrong_among_several(self) -> None:
        """Each wrong one of several is named, a repeated one is refused however it is written, and so are too many."""
        for raw, said in (
            ("http://a:1,ftp://b,c:2", ("'ftp://b'", "'c:2'")),
            ("http://a:80 http://b http://A/", ("names http://a more than once",)),
            (" ".join(f"http://a:{port}" for port in range(1, 66)), ("names 65 backends: 64 are possible",)),
        ):
            error = self.assertRaises(SettingsError, load, {**QUICK_START, "VESPA_BACKEND_URL": raw})
            [problem] = error.problems
            for each in ("VESPA_BACKEND_URL", *said):
                self.assertIn(each, problem)

    def test_engines_of_several(self) -> None:
        """What asks the engine itself does so for each of several backends."""
        found = load({**QUICK_START, "VESPA_BACKEND_URL": "http://a http://b", "VESPA_ABORT": "comfyui"})
        self.assertEqual((len(found.backend_urls), found.abort), (2, "comfyui"))

    def test_affinity(self) -> None:
        """Affinity is for several backends, by a header or a member of JSON."""
        two = {**QUICK_START, "VESPA_BACKEND_URL": "http://a http://b"}
        self.assertEqual(str(load({**two, "VESPA_AFFINITY": "header:X-User"}).affinity), "header:x-user")
        self.assertEqual(
            str(load({**two, "VESPA_AFFINITY": "json:messages.0.content"}).affinity), "json:messages.0.content"
        )
        for wrong in ("user", "header:", "header:a b", "json:", "json:a..b", "json:" + ".".join("a" * 9), "cookie:x"):
            error = self.assertRaises(SettingsError, load, {**two, "VESPA_AFFINITY": wrong})
            self.assertIn("VESPA_AFFINITY", error.problems[0])
        error = self.assertRaises(
            SettingsError, load, {**two, "VESPA_BACKEND_URL": "http://a", "VESPA_AFFINITY": "json:user"}
        )
        self.assertIn("is for several backends", error.problems[0])

    def test_wrong_backends(self) -> None:
        """A URL that cannot be connected to, or that is ambiguous, is refused."""
        for raw in (
            "http://", "http://:80", "http://x:0", "http://" + "a" * 64 + ".org", "http://x:99999", "http://x:y", "http://x/?a=1",
            "http://x/#f",
            "http://x y/", "http://x/é", "//x", "unix:run.sock", "ftp://x", "http://[::1", "http://a,b",
        ):  # fmt: skip
            self.assertRaises(SettingsError, self.value, "VESPA_BACKEND_URL", raw)

    def test_benchmarks(self) -> None:
        """A benchmark is a function of a module or of a file."""
        for raw in ("benchmarks.tgi:benchmark", "/a b/c.py:run", "mine:run"):
            self.assertEqual(self.value("VESPA_BENCHMARK", raw), raw)
        for raw in ("mine", ":run", "mine:", "mine:a.b", "/a/b:run", "a b:run"):
            self.assertRaises(SettingsError, self.value, "VESPA_BENCHMARK", raw)

    @given(
        st.dictionaries(
            st.sampled_from([row.name.replace("<port>", "3000") for row in rows(WorkerSettings)]),
            st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20),
        )
    )
    def test_any_text(self, environ: dict[str, str]) -> None:
        """No text breaks the reading: settings come out, or SettingsError, one line for each variable."""
        try:
            settings(environ, readable=lambda path: True)
        except SettingsError as error:
            names = [re.split(r"[= ]", line)[0] for line in error.problems]
            self.assertEqual(len(names), len(set(names)))
            self.assertNotIn("\n", "".join(error.problems))
        identity_if_readable(environ)


class SecrecyTests(SynchronousTestCase):
    def test_token_is_never_told(self) -> None:
        """The token is in no error and in no representation."""
        for token in (TOKEN, TOKEN + "\x07"):
            message = "; ".join(problems({**ON_VAST, "MASTER_TOKEN": token, "CONTAINER_ID": "x"}))
            self.assertIn("CONTAINER_ID", message)
            self.assertNotIn(TOKEN, message)
        self.assertNotIn(TOKEN, repr(load(ON_VAST)))

    def test_backend_key(self) -> None:
        """The backend's key is in no error and in no representation, be it good or not, in a variable or in a file."""
        name = "VESPA_BACKEND_AUTHORIZATION"
        found = load({**ON_VAST, name: f"Bearer {TOKEN}"})
        self.assertEqual(found.backend_authorization, f"Bearer {TOKEN}")
        self.assertNotIn(TOKEN, repr(found))
        for key in (f"{TOKEN}\x07", f"{TOKEN}\nX: y", f"{TOKEN}é"):
            (problem,) = problems({**ON_VAST, name: key})
            self.assertEqual(problem, f"{name}=(hidden): must be one line of printable ASCII, such as: Bearer KEY")
            environ = {**ON_VAST, f"{name}_FILE": "/key"}
            error = self.assertRaises(SettingsError, settings, environ, read_text=lambda path, key=key: key)
            self.assertIn("the text in '/key' must be one line", str(error))
            self.assertNotIn(TOKEN, str(error))

    def test_backend_key_file(self) -> None:
        """The key may be in a file; one that cannot be read, is empty, or stands beside the variable is a mistake."""
        name = "VESPA_BACKEND_AUTHORIZATION_FILE"
        folder = Path(self.mktemp())
        folder.mkdir()
        path = folder / "key"
        path.write_text(f"Bearer {TOKEN}\n")
        environ = {**ON_VAST, name: str(path)}
        self.assertEqual(load(environ).backend_authorization, f"Bearer {TOKEN}")
        (problem,) = problems({**environ, "VESPA_BACKEND_AUTHORIZATION": "Bearer x"})
        self.assertIn("unset one", problem)
        path.write_bytes(b"\xff\n")
        self.assertIn("does not hold text", problems(environ)[0])
        path.write_text("\n")
        self.assertIn("must be one line", problems(environ)[0])
        self.assertIn("No such file", problems({**environ, name: f"{path}.no"})[0])

    def test_admin_token_file(self) -> None:
        """The admin token may be in a file too, and is hidden; a text that is no token is a mistake, which hides it."""
        environ = {**ON_VAST, "VESPA_ADMIN_TOKEN_FILE": "/run/token"}
        found = read(environ, read_text=lambda path: "adm1n-token\n")
        self.assertIsNone(found.error)
        self.assertEqual(found.settings.admin_token, "adm1n-token")
        self.assertIn("adm1n-token", found.secrets)
        error = str(read(environ, read_text=lambda path: "two words\n").error)
        self.assertIn("VESPA_ADMIN_TOKEN_FILE: the text in '/run/token' must be printable ASCII", error)
        self.assertNotIn("two words", error)
        both = {**environ, "VESPA_ADMIN_TOKEN": "x"}
        self.assertIn("VESPA_ADMIN_TOKEN is set too; unset one", str(read(both, read_text=lambda path: "y").error))

    def test_secrets(self) -> None:
        """The secrets for the log are found despite mistakes: the token, the key, and the key without its scheme."""
        name = "VESPA_BACKEND_AUTHORIZATION"
        self.assertEqual(read({}).secrets, ())
        self.assertEqual(read({name: "Bearer x"}).secrets, ("Bearer x",))  # not each x of the log
        environ = {"MASTER_TOKEN": f" {TOKEN} ", name: "Bearer abcdefgh", f"{name}_FILE": "/f"}
        found = read(environ, read_text=lambda path: "Basic ijklmnop\n").secrets
        self.assertEqual(found, (TOKEN, "Bearer abcdefgh", "abcdefgh", "Basic ijklmnop", "ijklmnop"))

        def unreadable(path: str) -> str:
            raise OSError("no")

        self.assertEqual(read({f"{name}_FILE": "/f"}, read_text=unreadable).secrets, ())

    def test_password_in_address(self) -> None:
        """A password in an address is refused and not repeated."""
        (problem,) = problems({**ON_VAST, "VESPA_BACKEND_URL": "http://me:hunter2@x"})
        self.assertIn("VESPA_BACKEND_URL=(hidden)", problem)
        self.assertNotIn("hunter2", problem)


class FailureReportTests(SynchronousTestCase):
    def test_readable(self) -> None:
        """A worker with a valid identity can report a failed start, whatever else is wrong."""
        environ = {**ON_VAST, "VESPA_BACKEND_URL": "", "VESPA_MAX_QUEUE": "many", "REPORT_ADDR": "http://a,http://b/"}
        found = identity_if_readable(environ)
        assert found is not None
        self.assertEqual((found.id, found.mtoken), (12345, TOKEN))
        self.assertEqual(read(environ).settings.report_addresses, ("http://a", "http://b"))
        self.assertEqual(found.url, "http://198.51.100.7:41234")

    def test_not_readable(self) -> None:
        """Without an id, a token or an address, a failed start cannot be reported."""
        for name, raw in (
            ("CONTAINER_ID", ""),
            ("CONTAINER_ID", "x"),
            ("MASTER_TOKEN", ""),
            ("REPORT_ADDR", "nowhere"),
        ):
            self.assertIsNone(identity_if_readable({**ON_VAST, name: raw}))


class WarningTests(SynchronousTestCase):
    def test_unknown_names(self) -> None:
        """An unknown name with our prefix gets a warning with the nearest known name."""
        (line,) = warnings({**QUICK_START, "VESPA_WORKERPORT": "1", "OTHER": "1"})
        self.assertEqual(line, "VESPA_WORKERPORT is not a setting; did you mean VESPA_WORKER_PORT?")

    def test_known_names(self) -> None:
        """No documented variable gets a warning."""
        everything = {row.name: "" for row in (*WORKER.rows, *CLIENT.rows, *LOAD.rows) if row.name}
        self.assertGreater(len(everything), 90)
        self.assertEqual(warnings(everything), [])

    def test_key_without_scheme(self) -> None:
        """A key without a scheme gets a hint at `Bearer KEY` that does not show the key."""
        (line,) = warnings({**QUICK_START, "VESPA_BACKEND_AUTHORIZATION": TOKEN})
        self.assertIn("`Bearer KEY`", line)
        self.assertNotIn(TOKEN, line)
        self.assertEqual(warnings({**QUICK_START, "VESPA_BACKEND_AUTHORIZATION": f"Bearer {TOKEN}"}), [])

    def test_hint_in_error(self) -> None:
        """A misspelt name is a hint beside the mistake that it led to."""
        error = self.assertRaises(SettingsError, load, {"VESPA_BACKEND_ULR": "http://x"})
        self.assertIn("did you mean VESPA_BACKEND_URL?", str(error))

    def test_jobs_without_abort(self) -> None:
        """Jobs that a caller can leave behind get a hint at what stops them."""
        (line,) = warnings({**QUICK_START, "VESPA_JOBS": "comfyui"})
        self.assertIn("VESPA_JOBS is set and VESPA_ABORT is not", line)
        self.assertEqual(warnings({**QUICK_START, "VESPA_JOBS": "comfyui", "VESPA_ABORT": "comfyui"}), [])

    def test_estimate_without_benchmark(self) -> None:
        """An estimate of the throughput needs the benchmark's figure, and a hint says so."""
        (line,) = warnings({**QUICK_START, "VESPA_BENCHMARK": "", "VESPA_RECALIBRATE": "true"})
        self.assertIn("VESPA_RECALIBRATE changes nothing without VESPA_BENCHMARK", line)
        self.assertEqual(warnings({**QUICK_START, "VESPA_RECALIBRATE": "true"}), [])

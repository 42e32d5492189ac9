"""Laws of the image: its Dockerfile, as far as it can be run without a container engine, and the scripts in it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.deploy.files import DEPLOY, ROOT, dockerfile, e2e_tool
from tests.transport.tls_peer import write_certificate
from vespa.config.client import ClientSettings
from vespa.config.worker import WorkerSettings

DOCKERFILE = DEPLOY / "Dockerfile"
ENTRYPOINT = DEPLOY / "docker" / "entrypoint.sh"
HEALTHCHECK = DEPLOY / "docker" / "healthcheck.py"
KNOWN = frozenset("ARG FROM RUN COPY LABEL ENV USER WORKDIR EXPOSE HEALTHCHECK ENTRYPOINT CMD".split())


class DockerfileTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.found = dockerfile(DOCKERFILE)
        self.image = [each for each in self.found if each.stage == 2]

    def one(self, name: str) -> str:
        """The text of the only instruction of this name in the image's stage."""
        (found,) = [each.text for each in self.image if each.name == name]
        return found

    def test_instructions(self) -> None:
        """Every instruction is one, and there are two stages: what builds is not in the image."""
        self.assertEqual({each.name for each in self.found} - KNOWN, set())
        stages = [each.words for each in self.found if each.name == "FROM"]
        self.assertEqual(stages, [["python:${PYTHON}-slim", "AS", "build"], ["python:${PYTHON}-slim"]])
        self.assertEqual({each.flags.get("from") for each in self.found if each.name == "COPY"} - {None}, {"build"})

    def test_sources(self) -> None:
        """What is copied from the checkout is there."""
        copied = [each for each in self.found if each.name == "COPY" and "from" not in each.flags]
        self.assertEqual(len(copied), 3)
        for each in copied:
            for source in each.words[:-1]:
                self.assertTrue((ROOT / source).exists(), source)

    def test_programs(self) -> None:
        """Entry point and health check are programs that were copied there, by the names that they have there."""
        there = {each.words[-1] for each in self.image if each.name == "COPY" and "chmod" in each.flags}
        checked = self.one("HEALTHCHECK").partition(" CMD ")[2]
        named = json.loads(self.one("ENTRYPOINT")) + json.loads(checked)
        self.assertEqual({f"/usr/local/bin/{name}" for name in named}, there)
        self.assertEqual(json.loads(self.one("CMD")), ["worker"])

    def test_user(self) -> None:
        """It runs as a user who is not root, by number, and who may write where the figure is kept."""
        self.assertEqual(self.one("USER"), "10001:10001")
        environment = dict(word.split("=", 1) for word in self.one("ENV").split())
        for name in ("VESPA_BENCHMARK_CACHE_FILE", "VESPA_FORCE_UPDATE_FILE"):
            self.assertEqual(os.path.dirname(environment[name]), self.one("WORKDIR"))

    def test_ports(self) -> None:
        """The ports that it names are those at which Vespa listens by itself."""
        worker = WorkerSettings()
        client = ClientSettings(endpoint="", endpoint_key="")
        admin = [int(listen.split(":")[1]) for listen in (worker.admin_listen, client.admin_listen)]
        expected = {worker.worker_port, client.port, *admin}
        self.assertEqual({int(port) for port in self.one("EXPOSE").split()}, expected)

    def test_python(self) -> None:
        """Its Python is one that Vespa supports."""
        (version,) = [each.text.partition("=")[2] for each in self.found if each.name == "ARG"]
        self.assertIn(f"Programming Language :: Python :: {version}", (ROOT / "setup.cfg").read_text())

    def test_hadolint(self) -> None:
        """The linter for Dockerfiles has nothing to say."""
        hadolint = e2e_tool("hadolint")
        if not hadolint:
            raise SkipTest("hadolint is not installed: ./run_tests.sh installs it for the end-to-end tests")
        done = subprocess.run([hadolint, "--no-color", str(DOCKERFILE)], capture_output=True, text=True)
        self.assertEqual((done.returncode, done.stdout), (0, ""))


class BuildTests(SynchronousTestCase):
    slow = True

    def test_commands(self) -> None:
        """The commands that build the environment do so in a folder, and without the sources it runs a demo."""
        folder = Path(self.mktemp()).absolute()
        (folder / "bin").mkdir(parents=True)
        (folder / "bin" / "python").symlink_to(sys.executable)
        source = folder / "source"
        cloned = subprocess.run(["git", "clone", "--quiet", str(ROOT), str(source)], capture_output=True, text=True)
        if cloned.returncode:
            raise SkipTest(f"this is no git repository: {cloned.stderr}")
        commands = [each.text for each in dockerfile(DOCKERFILE) if each.name == "RUN" and "python -m" in each.text]
        self.assertEqual(len(commands), 2)
        for command in commands:
            here = command.replace("/opt/vespa", f"{folder}/vespa").replace("/wheels", f"{folder}/wheels")
            # With the interpreter of the tests in the place of the image's: a link to it would not be an environment.
            here = here.replace("python -m", f"{sys.executable} -m")
            # Without this checkout on the path, where pip would find Vespa to be installed already.
            plain = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
            done = subprocess.run(["sh", "-c", here], cwd=source, env=plain, capture_output=True, text=True)
            if done.returncode and "CI" not in os.environ and "No matching distribution" in done.stderr:
                raise SkipTest(f"pip cannot fetch what is needed: {done.stderr.strip().splitlines()[-1]}")
            self.assertEqual(done.returncode, 0, done.stderr)
        shutil.rmtree(source)
        program = folder / "vespa" / "bin" / "vespa-proxy"
        environment = {"PATH": os.environ["PATH"], "HOME": str(folder)}
        for arguments in (["version"], ["demo", "--once"]):
            done = subprocess.run(
                [program, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=120
            )
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertEqual(list(folder.glob("vespa/lib/python*/site-packages/twisted/test")), [])
        self.assertTrue(list(folder.glob("vespa/lib/python*/site-packages/twisted/plugins/dropin.cache")))


class EntrypointTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        program = self.folder / "vespa-proxy"
        program.write_text(
            '#!/bin/sh\necho "$$ ${VESPA_UNSECURED:-unset} ${VESPA_UNSECURED_PUBLIC:-unset} $*"\nexit 7\n'
        )
        program.chmod(0o755)

    def run_it(self, *arguments: str, **environ: str) -> tuple[str, str]:
        """Run the script with a stand-in for Vespa; what that says, and what the script says to standard error."""
        environment = {"PATH": f"{self.folder}:{os.environ['PATH']}", **environ}
        process = subprocess.Popen(
            [ENTRYPOINT, *arguments], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        out, err = process.communicate()
        self.assertEqual(process.returncode, 7, err)
        pid, _, said = out.strip().partition(" ")
        self.assertEqual(int(pid), process.pid)  # so that signals reach it
        return said, err

    def test_elsewhere(self) -> None:
        """Without Vast.ai a worker is open, and the script says so and what to do."""
        said, err = self.run_it("worker", VESPA_BACKEND_URL="http://x")
        self.assertEqual(said, "true true worker")
        self.assertIn("-p 127.0.0.1:3000:3000", err)

    def test_check(self) -> None:
        """Commands that examine a worker have its settings, and say nothing of their own."""
        for command in ("check", "benchmark"):
            self.assertEqual(self.run_it(command, "--json"), (f"true true {command} --json", ""))
            self.assertEqual(self.run_it(command, CONTAINER_ID="7"), (f"unset unset {command}", ""))

    def test_on_vast(self) -> None:
        """On a machine of Vast.ai nothing is opened."""
        self.assertEqual(self.run_it("worker", CONTAINER_ID="7"), ("unset unset worker", ""))

    def test_settings_count(self) -> None:
        """What is set is left as it is."""
        self.assertEqual(self.run_it("worker", VESPA_UNSECURED="false"), ("false unset worker", ""))
        self.assertEqual(self.run_it("worker", UNSECURED="true"), ("unset unset worker", ""))
        self.assertEqual(self.run_it("worker", VESPA_UNSECURED_PUBLIC="false")[0], "true false worker")

    def test_other_commands(self) -> None:
        """Other commands get their arguments, and nothing else."""
        self.assertEqual(self.run_it("client", "--host", "0.0.0.0 "), ("unset unset client --host 0.0.0.0", ""))
        self.assertEqual(self.run_it(), ("unset unset", ""))


class HealthcheckTests(SynchronousTestCase):
    def serve(self, answer: bytes) -> tuple[int, list[bytes]]:
        """A port of this machine that gives this answer once, and what it is asked."""
        listener = socket.create_server(("127.0.0.1", 0))
        return listener.getsockname()[1], self.answer(listener, answer)

    def answer(self, listener: socket.socket, answer: bytes, context: ssl.SSLContext | None = None) -> list[bytes]:
        """Give this answer once. Returns what it is asked."""
        asked: list[bytes] = []

        def once() -> None:
            connection, _ = listener.accept()
            if context is not None:
                connection = context.wrap_socket(connection, server_side=True)
            with connection:
                asked.append(connection.recv(4096))
                connection.sendall(answer)

        thread = threading.Thread(target=once, daemon=True)
        thread.start()
        self.addCleanup(thread.join, 10)
        self.addCleanup(listener.close)
        return asked

    def check(self, **environ: str) -> tuple[int, str]:
        argv: Sequence[str] = [sys.executable, "-IS", str(HEALTHCHECK)]
        done = subprocess.run(argv, env=environ, capture_output=True, text=True, timeout=30)
        self.assertEqual(done.stderr, "")
        return done.returncode, done.stdout

    def test_healthy(self) -> None:
        """It asks the admin port of the worker or of the client, wherever that listens, without a token."""
        for name, listen in (
            ("VESPA_ADMIN_LISTEN", "tcp:{}"),
            ("VESPA_ADMIN_LISTEN", "tcp:port={}:interface=0.0.0.0"),
            ("VESPA_CLIENT_ADMIN_LISTEN", "tcp:{}:interface=127.0.0.1"),
        ):
            port, asked = self.serve(b"HTTP/1.1 200 OK\r\n\r\nok\n")
            other = {"VESPA_ADMIN_LISTEN": "off", "VESPA_CLIENT_ADMIN_LISTEN": "off"}
            self.assertEqual(self.check(**{**other, name: listen.format(port)}), (0, ""))
            self.assertTrue(asked[0].startswith(b"GET /healthz HTTP/1."))
            self.assertNotIn(b"uthorization", asked[0])

    def test_kinds(self) -> None:
        """An admin port of any kind is asked: at a unix socket, at an address of its own, over IPv6, with TLS."""
        path = os.path.relpath(self.mktemp())
        local = socket.socket(socket.AF_UNIX)
        local.bind(path)
        local.listen()
        own = socket.create_server(("127.0.0.2", 0))
        six = socket.create_server(("::1", 0), family=socket.AF_INET6)
        secure = socket.create_server(("127.0.0.1", 0))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*write_certificate(self.mktemp()))
        for listen, listener, tls in (
            (f"unix:{path}:mode=660", local, None),
            (f"tcp:{own.getsockname()[1]}:interface=127.0.0.2", own, None),
            (f"tcp6:{six.getsockname()[1]}", six, None),
            (f"ssl:{secure.getsockname()[1]}:privateKey=key.pem", secure, context),
        ):
            self.answer(listener, b"HTTP/1.1 200 OK\r\n\r\nok\n", tls)
            said = self.check(VESPA_ADMIN_LISTEN=listen, VESPA_CLIENT_ADMIN_LISTEN="off")
            self.assertEqual((listen, *said), (listen, 0, ""))

    def test_nobody(self) -> None:
        """Where nobody can be, it says where it asked."""
        for listen, where in (("unix:/nowhere/s", "/nowhere/s"), ("tcp:99999", "port 99999 of 127.0.0.1")):
            code, said = self.check(VESPA_ADMIN_LISTEN=listen, VESPA_CLIENT_ADMIN_LISTEN="off")
            self.assertEqual((code, said), (1, f"no answer to /healthz at {where}\n"))

    def test_unhealthy(self) -> None:
        """Another answer, none, and a port that nobody listens at are a failure, and the port is named."""
        port, _ = self.serve(b"HTTP/1.1 503 no\r\n\r\n")
        code, said = self.check(VESPA_ADMIN_LISTEN=f"tcp:{port}", VESPA_CLIENT_ADMIN_LISTEN="off")
        self.assertEqual((code, str(port) in said), (1, True))
        port, _ = self.serve(b"")
        self.assertEqual(self.check(VESPA_ADMIN_LISTEN=f"tcp:{port}", VESPA_CLIENT_ADMIN_LISTEN="off")[0], 1)
        code, said = self.check(VESPA_ADMIN_LISTEN="off", VESPA_CLIENT_ADMIN_LISTEN="off")
        self.assertEqual((code, "off" in said), (1, True))

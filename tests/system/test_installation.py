"""Laws of what is installed: it works in a clean environment, outside the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SkipTest
from twisted.web.resource import Resource
from twisted.web.server import Request, Site

from tests.distributions import ROOT, build_sdist, build_wheel, run, unpack
from tests.processes import ProcessCase
from vespa.simulator.child import Child
from vespa.simulator.launch import free_port

# What a user runs, and no more: no tests, no perf, no examples.
PACKAGES = {"vespa", "benchmarks", "twisted"}


class Answer(Resource):
    """A backend: every path answers the same."""

    isLeaf = True

    def render(self, request: Request) -> bytes:
        return b"served"


class InstallationTests(ProcessCase):
    slow = True
    timeout = 300

    def build(self, folder: Path) -> tuple[Path, Path]:
        """The source distribution, unpacked, and the wheel that is built from it."""
        source = unpack(build_sdist(folder), folder / "unpacked")
        return source, build_wheel(source, folder / "wheel")

    def install(self, wheel: Path, environment: Path) -> None:
        """Install a wheel with all that it requires, in a new environment."""
        run([sys.executable, "-m", "venv", "--without-pip", str(environment)], wheel.parent)
        pip = [sys.executable, "-m", "pip", "--python", str(environment / "bin" / "python"), "install", "--quiet"]
        constraints = ["--constraint", str(ROOT / "constraints.txt")]
        done = subprocess.run([*pip, *constraints, str(wheel)], capture_output=True, text=True)
        if done.returncode and "CI" not in os.environ and "No matching distribution" in done.stderr:
            raise SkipTest(f"pip cannot fetch what the wheel requires: {done.stderr.strip().splitlines()[-1]}")
        self.assertEqual(done.returncode, 0, done.stderr)

    async def test_wheel(self) -> None:
        """From the wheel: the demo runs, twistd starts a worker, a load test measures it, and it stops."""
        folder = Path(self.temporary_folder())
        environment = folder / "environment"
        _, wheel = await deferToThread(self.build, folder)
        with zipfile.ZipFile(wheel) as opened:
            top = {name.split("/")[0] for name in opened.namelist()}
        self.assertEqual({name for name in top if not name.endswith(".dist-info")}, PACKAGES)
        await deferToThread(self.install, wheel, environment)

        def start(command: str, *arguments: str, **settings: str) -> Child:
            argv = [str(environment / "bin" / command), *arguments]
            return self.start(argv, {"PYTHONPATH": "", **settings}, folder=self.temporary_folder())

        demo = start("vespa-proxy", "demo", "--once")
        usage = start("twistd", "--help")
        site: Any = Site(Answer())
        backend: Any = reactor.listenTCP(0, site, interface="127.0.0.1")
        self.addCleanup(backend.stopListening)
        port = free_port()
        worker = start(
            "twistd",
            *("-n", "--pidfile=", "vespa"),
            VESPA_BACKEND_URL=f"http://127.0.0.1:{backend.getHost().port}",
            VESPA_WORKER_PORT=str(port),
            VESPA_UNSECURED="true",
        )
        await self.until_line(worker, "the worker is ready")
        url = f"http://127.0.0.1:{port}/"
        load = start("vespa-proxy", "load", "--url", url, "-n", "20", "--concurrency", "4", "--json", "report.json")
        self.assertEqual(await self.until_exit(load), 0, load.text)
        worker.signal("TERM")
        self.assertEqual(await self.until_exit(worker), 0, worker.text)
        self.assert_clean_log(worker)
        self.assertEqual(await self.until_exit(usage), 0, usage.text)
        self.assertRegex(usage.text, r"\bvespa\b")
        self.assertRegex(usage.text, r"\bvespa-client\b")
        self.assertEqual(await self.until_exit(demo), 0, demo.text)
        self.assert_clean_log(demo)

    async def test_sdist(self) -> None:
        """From the source distribution, unpacked: the tests run, and what they test is what was unpacked."""
        folder = Path(self.temporary_folder())
        source, _ = await deferToThread(self.build, folder)
        shutil.rmtree(folder / "copy")
        code = "import vespa; print('from', vespa.__file__)"
        self.assertIn(f"from {source}", await deferToThread(run, [sys.executable, "-c", code], source))
        printed = await deferToThread(run, [sys.executable, "-m", "tests.run", "tests.vast.test_signature"], source)
        self.assertRegex(printed.splitlines()[-1], "^[1-9][0-9]* passed, 0 failed$")

"""Laws of the on-start script for Vast.ai: it starts both programs, keeps them running, and returns."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import Any

from twisted.internet.threads import deferToThread

from tests.deploy.files import DEPLOY
from tests.processes import ProcessCase, until

SCRIPT = DEPLOY / "vast" / "onstart.sh"


class OnStartTests(ProcessCase):
    def setUp(self) -> None:
        self.folder = Path(self.temporary_folder())
        self.workspace = self.folder / "workspace"
        self.said = self.folder / "said"
        programs = self.folder / "programs"
        programs.mkdir()
        # In the place of a clone there is a Vespa that says what it was started with.
        self.program(
            programs / "git",
            f'echo "git $*" >>{self.said}',
            'if [ "$1" = clone ]; then mkdir -p "$4/.git"; cp "$VESPA_STANDIN" "$4/start_server.sh"; fi',
        )
        standin = self.program(
            self.folder / "standin",
            f'echo "vespa $VESPA_BACKEND_URL" >>{self.said}',
            "echo hello of vespa",
            f"[ -e {self.folder}/stay-stopped ] || exit 1",
        )
        # The pauses are no longer than they must be.
        self.program(programs / "sleep", "exec /bin/sleep 0.05")
        self.environment = {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "WORKSPACE": str(self.workspace),
            "VESPA_STANDIN": str(standin),
            "VESPA_BACKEND_URL": "http://127.0.0.1:8000",
            "BACKEND_COMMAND": f"echo \"backend 'started'\" >>{self.said}; echo hello of the backend; /bin/sleep 0.2",
            "PYWORKER_REPO": "https://example.com/vespa",
        }

    def program(self, path: Path, *lines: str) -> Path:
        path.write_text("\n".join(["#!/bin/sh", *lines, ""]), "utf-8")
        path.chmod(0o755)
        return path

    async def run_it(self, **more: str) -> subprocess.CompletedProcess[str]:
        """Run the script to its end. What it leaves running is ended with the test."""
        process: Any = subprocess.Popen(
            ["bash", str(SCRIPT)],
            env={**self.environment, **more},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.addCleanup(self.end_session, process.pid)
        # Its output ends with it: what goes on in the background does not hold it open.
        out, err = await deferToThread(process.communicate, timeout=30)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def end_session(self, leader: int) -> None:
        try:
            os.killpg(leader, signal.SIGKILL)
        except ProcessLookupError:
            pass

    def lines(self) -> list[str]:
        return self.said.read_text("utf-8").splitlines() if self.said.exists() else []

    async def test_start(self) -> None:
        """It clones Vespa, starts the server and Vespa with its settings, and returns while both go on."""
        done = await self.run_it()
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        await until(lambda: {"backend 'started'", "vespa http://127.0.0.1:8000"} <= set(self.lines()), what="both")
        self.assertEqual(self.lines()[0], f"git clone --quiet https://example.com/vespa {self.workspace}/vespa")
        await until(lambda: self.lines().count("backend 'started'") >= 2, what="the server once more")
        await until(lambda: self.lines().count("vespa http://127.0.0.1:8000") >= 2, what="Vespa once more")
        for name, text in (("backend", "hello of the backend"), ("vespa", "hello of vespa")):
            log = self.workspace / f"{name}.log"
            await until(lambda log=log, text=text: log.exists() and text in log.read_text(), what=str(log))

    async def test_stopped(self) -> None:
        """A Vespa that ended with code 0 was told to, and stays so."""
        (self.folder / "stay-stopped").touch()
        await self.run_it()
        await until(lambda: "vespa http://127.0.0.1:8000" in self.lines(), what="Vespa")
        before = self.lines().count("backend 'started'")
        await until(lambda: self.lines().count("backend 'started'") >= before + 4, what="the server, some times")
        self.assertEqual(self.lines().count("vespa http://127.0.0.1:8000"), 1)

    async def test_again(self) -> None:
        """At the next start of the machine nothing is cloned; the version that the template names is taken."""
        (self.workspace / "vespa" / ".git").mkdir(parents=True)
        self.program(self.workspace / "vespa" / "start_server.sh", f'echo "kept" >>{self.said}')
        done = await self.run_it(PYWORKER_REF="v1.2.3")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        await until(lambda: "kept" in self.lines(), what="the clone that there was")
        clone = f"{self.workspace}/vespa"
        asked = [line for line in self.lines() if line.startswith("git")]
        self.assertEqual(
            asked, [f"git -C {clone} fetch --quiet --tags origin", f"git -C {clone} checkout --quiet v1.2.3"]
        )

    async def test_unset(self) -> None:
        """A template that lacks a variable is told which, and nothing is started."""
        for name in ("BACKEND_COMMAND", "PYWORKER_REPO"):
            done = await self.run_it(**{name: ""})
            self.assertNotEqual(done.returncode, 0)
            self.assertIn(f"{name}: set it in the environment of the template", done.stderr)
        self.assertEqual(self.lines(), [])

    def run_bounded_log(self, code: str) -> None:
        text = SCRIPT.read_text("utf-8")
        begin = text.index("bounded_log() {")
        function = text[begin : text.index("\n}\n", begin) + 3]
        code = f"set -euo pipefail; log_bytes=1000\n{function}\n{code}"
        subprocess.run(["bash", "-c", code], check=True, stderr=subprocess.DEVNULL)

    async def test_unwritable(self) -> None:
        """A log that can be neither written nor renamed does not end the program that writes it."""
        log, went_on = self.folder / "no-such-folder" / "log", self.folder / "went-on"
        # The second half waits until whatever reads the first has met the error.
        self.run_bounded_log(f"{{ seq 300; /bin/sleep 0.2; seq 300; touch {went_on}; }} | bounded_log {log}")
        self.assertTrue(went_on.exists())

    async def test_bounded(self) -> None:
        """A log takes no more than twice its bound on the disk."""
        log = self.folder / "log"
        self.run_bounded_log(f"seq 1000 9998 | bounded_log {log}")
        kept = [*Path(f"{log}.1").read_text().split(), *log.read_text().split()]
        self.assertLessEqual(len(" ".join(kept)), 2000)
        self.assertEqual(kept, [str(number) for number in range(9999 - len(kept), 9999)])
        self.assertEqual(sorted(path.name for path in self.folder.glob("log*")), ["log", "log.1"])

"""Whatever happens to the parent, nothing of what the file started stays behind."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from twisted.trial.unittest import SkipTest

from tests.migrating.files import run, write
from tests.migrating.test_confinement import is_running
from tests.processes import ProcessCase, until
from vespa.migrating.messages import End

STARTS = """
import os, subprocess, sys, time
sleeper = [sys.executable, "-c", "import time; time.sleep(600)"]
children = [subprocess.Popen(sleeper), subprocess.Popen(sleeper, start_new_session=True)]
with open("part", "w") as file:
    file.write(" ".join(str(each) for each in (os.getpid(), os.getppid(), *(child.pid for child in children))))
os.rename("part", "pids")
time.sleep(600)
"""


class SupervisorTests(ProcessCase):
    async def test_killed_parent(self) -> None:
        """A parent that is killed, or asked to end: the file's process and its children end too."""
        if sys.platform != "linux":
            raise SkipTest("this reads /proc")
        for number in (signal.SIGKILL, signal.SIGTERM):
            path = write(self, STARTS)
            child = self.start([sys.executable, "-m", "vespa.cli", "migrate", path, "--stand-in"])
            pids = Path(path).with_name("pids")
            await until(pids.exists, what="the file has started its programs")
            running = [int(pid) for pid in pids.read_text().split()]
            self.assertEqual([pid for pid in running if not is_running(pid)], [])
            child.signal(number.name.removeprefix("SIG"))
            await self.until_exit(child)
            await until(lambda pids=running: not any(map(is_running, pids)), 10.0, "all have ended")

    def test_no_child_of_the_file(self) -> None:
        """The supervisor is above the file's process: a file that waits for all its children does not wait for it."""
        source = """
            import os, subprocess
            subprocess.Popen(["true"])
            try:
                while True:
                    os.wait()
            except ChildProcessError:
                pass
            """
        self.assertEqual(run(write(self, source)).answer.end, End("finished"))

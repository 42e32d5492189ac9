"""What the process of a worker's file cannot do."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase, TestCase

from tests.migrating.files import run, write
from tests.processes import until
from vespa.migrating.confinement import REFUSED, NetworkIsOff, filter_program, refuse
from vespa.migrating.messages import End

WITHOUT_PYTHON = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
assert libc.socket(2, 1, 0) == -1 and ctypes.get_errno() == 13, ctypes.get_errno()
assert libc.socket(10, 2, 0) == -1 and ctypes.get_errno() == 13
local = libc.socket(1, 1, 0)
assert local >= 0
before = os.getpgid(0), os.getsid(0)
os.setsid()
os.setpgid(0, 0)
assert before == (os.getpgid(0), os.getsid(0))
"""


class NetworkTests(SynchronousTestCase):
    def test_sockets(self) -> None:
        """Python's sockets are refused with a sentence, in every way to use them; pairs for event loops work."""
        for line in (
            "import socket; socket.create_connection(('127.0.0.1', 9))",
            "import socket; socket.getaddrinfo('vast.ai', 443)",
            "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', 9))",
            "import http.client; http.client.HTTPConnection('127.0.0.1', 9).request('GET', '/')",
            "import asyncio; asyncio.run(asyncio.open_connection('127.0.0.1', 9))",
        ):
            end = run(write(self, line + "\n")).answer.end
            self.assertEqual((end.how, end.message), ("raised", REFUSED), line)
        for line in (
            "import socket; a, b = socket.socketpair(); a.send(b'x'); assert b.recv(1) == b'x'",
            "import asyncio; asyncio.run(asyncio.sleep(0))",
            "import urllib.request, urllib.error\ntry:\n    urllib.request.urlopen('http://127.0.0.1:9/')\n"
            "except urllib.error.URLError as error:\n    assert 'network is off' in str(error)\nelse:\n    1 / 0",
        ):
            self.assertEqual(run(write(self, line + "\n")).answer.end, End("finished"), line)

    def test_programs(self) -> None:
        """On Linux programs that the file starts have no network either, and stay in the process's group."""
        if sys.platform != "linux" or os.uname().machine not in ("x86_64", "aarch64"):
            raise SkipTest("there is no filter here")
        listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listener.close)
        port = listener.getsockname()[1]
        connect = f"import socket; socket.create_connection(('127.0.0.1', {port}))"
        source = f"import subprocess, sys\nassert subprocess.run([sys.executable, '-c', {connect!r}]).returncode == 1\n"
        self.assertEqual(run(write(self, source)).answer.end, End("finished"))
        self.assertEqual(run(write(self, WITHOUT_PYTHON)).answer.end, End("finished"))

    def test_filter(self) -> None:
        """The filter is whole instructions, and each of its jumps ends at an instruction of it."""
        program = filter_program(0xC000003E, 41, 112, 109)
        self.assertEqual(len(program) % 8, 0)
        steps = [(program[at + 2], program[at + 3]) for at in range(0, len(program), 8)]
        for index, jumps in enumerate(steps):
            self.assertLess(index + 1 + max(jumps), len(steps) + (jumps == (0, 0)))


class HookTests(SynchronousTestCase):
    def test_events(self) -> None:
        """What is refused, and what is not."""
        a, b = socket.socketpair()
        self.addCleanup(a.close)
        self.addCleanup(b.close)
        address = ("127.0.0.1", 9)
        with socket.socket() as tcp:
            for event, arguments in (
                ("socket.__new__", (tcp, socket.AF_INET, socket.SOCK_STREAM, 0)),
                ("socket.connect", (tcp, address)),
                ("socket.getaddrinfo", ("h", 1, 0, 0, 0)),
                ("socket.sendto", (tcp, address)),
            ):
                self.assertRaises(NetworkIsOff, refuse, event, arguments)
        refuse("socket.__new__", (a, socket.AF_UNIX, socket.SOCK_STREAM, 0))
        refuse("socket.connect", (a, "/a.sock"))
        refuse("open", ("/x", "r", 0))


class ChildrenTests(TestCase):
    async def test_all_end(self) -> None:
        """What the file started is killed when its answer is there, also what left for a session of its own."""
        if sys.platform != "linux":
            raise SkipTest("there is no filter here")
        path = write(
            self,
            """
            import os, subprocess, sys
            sleeper = [sys.executable, "-c", "import time; time.sleep(600)"]
            children = [subprocess.Popen(sleeper), subprocess.Popen(sleeper, start_new_session=True)]
            if os.fork() == 0:
                os.setsid()
                children.append(subprocess.Popen(sleeper))
                open("grandchild", "w").write(str(children[-1].pid))
                os._exit(0)
            os.wait()
            open("children", "w").write(" ".join(str(each.pid) for each in children))
            """,
        )
        self.assertEqual(run(path).answer.end, End("finished"))
        folder = Path(path).parent
        for pid in (*(folder / "children").read_text().split(), (folder / "grandchild").read_text()):
            # A busy system needs a moment for the end of a process that was killed.
            await until(lambda pid=int(pid): not is_running(pid), 10.0, f"the end of process {pid}")

    def test_limits(self) -> None:
        """A file cannot fill the disk or the memory."""
        if sys.platform != "linux":
            raise SkipTest("Linux counts memory by what can be written")
        end = run(write(self, "with open('big', 'wb') as f:\n    f.seek(2**40)\n    f.write(b'x')\n")).answer.end
        self.assertEqual(end.type, "OSError")
        self.assertEqual(run(write(self, "x = bytearray(2**36)\n")).answer.end.type, "MemoryError")


def is_running(pid: int) -> bool:
    """Whether a process runs; one that has ended but was not reaped does not."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False

"""The programs that a file starts, in its process."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.migrating.files import run, write
from vespa.migrating.messages import End
from vespa.migrating.programs import MOST


class ProgramTests(SynchronousTestCase):
    def answer(self, source: str) -> Any:
        answer = run(write(self, "import subprocess, sys\n" + source)).answer
        self.assertEqual(answer.end, End("finished"))
        return answer

    def test_names(self) -> None:
        """In every form of a command the name is recorded, and no argument, which may be a secret."""
        answer = self.answer(
            "subprocess.run([sys.executable, '-c', ''], check=True)\n"
            "subprocess.run('true --token=x', shell=True, check=True)\n"
            "assert subprocess.check_output(['/bin/echo', 'x']) == b'x\\n'\n"
            "import asyncio\n"
            "async def main():\n    await (await asyncio.create_subprocess_exec('true')).wait()\n"
            "asyncio.run(main())\n"
        )
        self.assertEqual(answer.programs[1:], ["true", "echo", "true"])
        self.assertEqual(self.answer("subprocess.run(['git', '--version'])\n").programs, [])
        self.assertEqual(len(self.answer(f"for i in range({MOST + 5}):\n    subprocess.run('true')\n").programs), MOST)

    def test_not_there(self) -> None:
        """A model server that is not installed here has ended when the file looks, and printed nothing."""
        answer = self.answer(
            "server = subprocess.Popen(['no-such-server', '--port', '1'], stdout=subprocess.PIPE, cwd='/no/such')\n"
            "assert list(iter(server.stdout.readline, b'')) == []\n"
            "assert server.wait() == 127\n"
            "subprocess.Popen[bytes]\n"
        )
        self.assertEqual(answer.programs, ["no-such-server"])
        answer = self.answer(
            "try:\n    subprocess.run('no-such', shell=True, cwd='/no/such')\nexcept OSError:\n    pass\n"
        )
        self.assertEqual(answer.programs, ["no-such"])

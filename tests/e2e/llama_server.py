"""One llama.cpp for all tests of a process: to start it takes longer than most of them."""

from __future__ import annotations

import atexit
import os
import re
import shutil
import signal
import subprocess
import tempfile

from tests.processes import until

START_SECONDS = 60.0


class LlamaServer:
    """llama.cpp in a process of its own, outside of the reactor: it stays when a test is over."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._output = ""
        atexit.register(self._end)

    async def url(self, python: str) -> str:
        """Its address, once it serves. Raises AssertionError with its output where it does not."""
        if self._process is None or self._process.poll() is not None:
            self._end()
            self._start(python)
        await until(lambda: self._port() or self._process is None or self._process.poll() is not None, START_SECONDS)
        port = self._port()
        assert port, f"llama.cpp does not serve; its output:\n{self._text()}"
        return f"http://127.0.0.1:{port}"

    def signal(self, number: signal.Signals) -> None:
        """Send the running process a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def _start(self, python: str) -> None:
        folder = tempfile.mkdtemp(prefix="vespa-llama-")
        self._output = os.path.join(folder, "output")
        script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "llama.py")
        with open(self._output, "wb") as output:
            self._process = subprocess.Popen(
                [python, script, folder], stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
            )

    def _text(self) -> str:
        with open(self._output, encoding="utf-8", errors="replace") as file:
            return file.read()

    def _port(self) -> str:
        found = re.search(r"^listening (\d+)$", self._text(), re.MULTILINE)
        return found[1] if found is not None else ""

    def _end(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            shutil.rmtree(os.path.dirname(self._output), ignore_errors=True)
            self._process = None


SHARED = LlamaServer()

"""The examples, as they stand, against the simulator."""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig

from twisted.trial.unittest import SkipTest

from tests.e2e.clients import ServiceCase, e2e_python, need
from vespa.simulator.launch import ROOT

EXAMPLES = os.path.join(ROOT, "examples")


def program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise SkipTest(f"there is no {name} here")
    return found


class ExampleTests(ServiceCase):
    async def run_example(self, interpreter: str, name: str, **settings: str) -> list[str]:
        """An example's output, from beginning to end, against a proxy that runs; its exit code is 0."""
        deployment = await self.start_service(tls=True)
        client = await deployment.start_client(token="t0ken")
        settings = {"VESPA_URL": client.url, "VESPA_CLIENT_TOKEN": "t0ken", **settings}
        return await self.output(interpreter, name, settings)

    async def embed_example(self, interpreter: str, name: str, **settings: str) -> list[str]:
        """The same of an example that brings the proxy itself."""
        deployment = await self.start_service(tls=True)
        settings = {
            "VAST_ENDPOINT": deployment.autoscaler.endpoint,
            "VAST_ACCOUNT_KEY": deployment.autoscaler.account_key,
            "VAST_AUTOSCALER_URL": deployment.autoscaler_url,
            "VAST_CONSOLE_URL": deployment.autoscaler_url,
            **settings,
        }
        return await self.output(interpreter, name, settings)

    async def output(self, interpreter: str, name: str, settings: dict[str, str]) -> list[str]:
        folder = self.temporary_folder()
        environment = {"HOME": folder, "PYTHONUNBUFFERED": "1", **settings}
        child = self.start([interpreter, os.path.join(EXAMPLES, name)], environment, folder=folder)
        code = await self.until_exit(child)
        self.assertEqual(code, 0, child.text)
        self.assertNotIn("Traceback", child.text)
        return child.lines

    async def test_openai_chat(self) -> None:
        """OpenAI's library: a response, and a stream."""
        need("openai")
        lines = await self.run_example(e2e_python(), "openai_chat.py")
        self.assertEqual([bool(line.strip()) for line in lines], [True, True], lines)

    async def test_requests(self) -> None:
        """requests: a response, a stream, and an error of the backend's own."""
        need("requests")
        lines = await self.run_example(e2e_python(), "requests_example.py")
        self.assertEqual(len(lines), 3, lines)
        self.assertEqual(lines[2], "404 from the backend")

    async def test_curl(self) -> None:
        """curl: all four end well, and the form reaches the backend."""
        program("curl")
        lines = await self.run_example(program("sh"), "curl.sh")
        text = "\n".join(lines)
        self.assertEqual(text.count("== "), 4)
        self.assertIn("data: [DONE]", text)
        self.assertIn('"object"', text)
        self.assertIn('"text"', text[text.index("== a file") :])
        self.assertNotIn("X-Vespa", text)

    async def test_fetch(self) -> None:
        """Node's own fetch, which names a Sec-Fetch-Mode, is let in: a response, and a stream."""
        lines = await self.run_example(program("node"), "javascript/fetch.mjs")
        self.assertEqual([bool(line.strip()) for line in lines], [True, True], lines)

    async def test_websocket(self) -> None:
        """A WebSocket goes through to the backend and back."""
        need("websockets")
        self.assertEqual(await self.run_example(e2e_python(), "websocket.py"), ["hello"])

    async def test_asyncio(self) -> None:
        """The embedded client under asyncio, then without a loop."""
        need("openai")
        if not _same_version():
            raise SkipTest("the end-to-end Python is another than ours")
        path = os.pathsep.join([ROOT, sysconfig.get_path("purelib"), sysconfig.get_path("platlib")])
        lines = await self.embed_example(e2e_python(), "asyncio_client.py", PYTHONPATH=path)
        self.assertEqual([line[:2] for line in lines[:3]], ["0:", "1:", "2:"])
        self.assertEqual(len(lines), 4, lines)

    async def test_twisted(self) -> None:
        """The embedded client on a Twisted program's reactor."""
        lines = await self.embed_example(sys.executable, "twisted_client.py", PYTHONPATH=ROOT)
        self.assertTrue(lines and lines[-1].strip(), lines)


def _same_version() -> bool:
    """Whether what is installed for us can be used by the end-to-end Python as well."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    return os.path.isdir(os.path.join(os.path.dirname(os.path.dirname(e2e_python())), "lib", version))

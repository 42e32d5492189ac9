"""What a benchmark's process can import, and what nobody's files can replace in it."""

from __future__ import annotations

import os

from twisted.trial.unittest import SynchronousTestCase

from tests.benchmarking.children import ENVIRONMENT, ChildCase
from vespa.benchmarking import isolated


class PathTests(SynchronousTestCase):
    def test_path(self) -> None:
        """The script's own folder goes, first on the path or not there (PYTHONSAFEPATH); nobody else's goes for it."""
        here = os.path.dirname(isolated.__file__)
        ours = os.path.dirname(os.path.dirname(here))
        for path in ([here, "/theirs", "", "."], ["/theirs"], ["/theirs", "/now", ours]):
            isolated.isolate(path, "/now")
            self.assertEqual(path, ["/theirs", ours, "/now"])


class IsolationTests(ChildCase):
    def worker_folder(self, **files: str) -> str:
        """A folder to be the current one, with these files."""
        folder = self.folder / "current"
        for name, text in files.items():
            path = folder / (name.replace("__", "/") + ".py")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        before = os.getcwd()
        os.chdir(folder)
        self.addCleanup(os.chdir, before)
        return str(folder)

    async def test_nothing_replaced(self) -> None:
        """Modules in the current folder, or beside the benchmark's file, replace neither Python's nor Vespa's own."""
        evil = "raise SystemExit('this must not run')"
        names = (
            "ctypes",
            "asyncio",
            "json",
            "twisted",
            "treq",
            "aiohttp",
            "yarl",
            "vespa__init",
            "sitecustomize",
            "benchmarks__openai_chat",
        )
        self.worker_folder(**dict.fromkeys(names, evil), mine="x = 3")
        for name in ("ctypes", "json", "twisted", "aiohttp"):
            (self.folder / f"{name}.py").write_text(evil)
        source = """
            import aiohttp, ctypes, json, asyncio, twisted, mine
            async def benchmark(url, session):
                import benchmarks.tgi
                return mine.x
            """
        for environment in (ENVIRONMENT, {**ENVIRONMENT, "PYTHONPATH": f":{ENVIRONMENT.get('PYTHONPATH', '')}:"}):
            self.assertEqual(await self.start(source, environment=environment), 3.0)

    async def test_built_in_first(self) -> None:
        """A folder `benchmarks` of the user's adds to the built-in ones and replaces none."""
        source = "async def benchmark(url, session):\n    return 8"
        folder = self.worker_folder(benchmarks____init__="", benchmarks__tgi=source, benchmarks__mine=source)
        for environment in (ENVIRONMENT, {**ENVIRONMENT, "PYTHONPATH": folder}):
            self.assertEqual(await self.start(spec="benchmarks.mine:benchmark", environment=environment), 8.0)
            self.assertNotEqual(await self.error(spec="benchmarks.tgi:benchmark", environment=environment), "")
        by_path = await self.start(spec=f"{folder}/benchmarks/tgi.py:benchmark")
        self.assertEqual(by_path, 8.0)

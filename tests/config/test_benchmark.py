"""Tests of `vespa.config.benchmark`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from vespa.config.benchmark import BenchmarkReading, read
from vespa.config.commands import BENCHMARK
from vespa.config.reader import SettingsError

SPEC = "benchmarks.openai_chat:benchmark"


def reading(*arguments: str, **environ: str) -> BenchmarkReading:
    return read(BENCHMARK.parse(arguments), environ)


class BenchmarkTests(SynchronousTestCase):
    def test_variables(self) -> None:
        """Benchmark and backend are those of the worker, and nothing that only an endpoint's worker needs is asked."""
        found = reading(
            VESPA_BENCHMARK=SPEC, VESPA_BACKEND_URL="http://a:1", USE_SSL="true", VESPA_BENCHMARK_TIMEOUT="5"
        )
        assert found.worker.backend_url is not None
        self.assertEqual((found.worker.benchmark, found.worker.backend_url.url), (SPEC, "http://a:1"))
        self.assertEqual((found.worker.benchmark_timeout, found.settings.save), (5.0, False))

    def test_options(self) -> None:
        """Options take precedence."""
        found = reading(
            "-b", SPEC, "--backend=http://b:2", "--save", VESPA_BENCHMARK="x:y", VESPA_BACKEND_URL="http://a"
        )
        assert found.worker.backend_url is not None
        self.assertEqual((found.worker.benchmark, found.worker.backend_url.url), (SPEC, "http://b:2"))
        self.assertTrue(found.settings.save)

    def test_missing(self) -> None:
        """What is missing is named with its option and its variable, everything at once."""
        error = self.assertRaises(SettingsError, reading, "--fly", VESPA_BENCHMARK_TIMEOUT="soon")
        for part in (
            "--fly",
            "--benchmark",
            "VESPA_BENCHMARK is not set",
            "--backend",
            "VESPA_BENCHMARK_TIMEOUT='soon'",
        ):
            self.assertIn(part, str(error))
        self.assertEqual(len(error.problems), 4)

    def test_wrong(self) -> None:
        """A wrong value is named once."""
        error = self.assertRaises(SettingsError, reading, "--benchmark=x", "--backend=ftp://a")
        self.assertEqual(len(error.problems), 2, error.problems)

    def test_secrets(self) -> None:
        """The backend's key is known as a secret, and not shown."""
        secret = "Bearer abcdefghijkl"
        found = reading("-b", SPEC, "--backend=http://b", VESPA_BACKEND_AUTHORIZATION=secret)
        self.assertIn(secret, found.secrets)
        self.assertNotIn("abcdefghijkl", repr(found))

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from vespa.config.worker_reading import read

BACKEND = {"VESPA_BACKEND_URL": "http://a,http://b", "VESPA_UNSECURED": "true"}


class HintTests(SynchronousTestCase):
    def told(self, **settings: str) -> tuple[str, ...]:
        """The hints, and nothing else: these settings are allowed."""
        found = read({**BACKEND, **settings})
        self.assertIsNone(found.error)
        return found.warnings

    def test_slots(self) -> None:
        """One request at a time goes before a number of slots."""
        (line,) = self.told(VESPA_ALLOW_PARALLEL="false", VESPA_MAX_CONCURRENCY="4")
        self.assertIn("VESPA_ALLOW_PARALLEL is false", line)
        self.assertIn("the 4 of VESPA_MAX_CONCURRENCY", line)
        for settings in (
            {"VESPA_MAX_CONCURRENCY": "4"},
            {"VESPA_ALLOW_PARALLEL": "false"},
            {"VESPA_ALLOW_PARALLEL": "false", "VESPA_MAX_CONCURRENCY": "1"},
        ):
            self.assertEqual(self.told(**settings), ())

    def test_connections(self) -> None:
        """A slot without a connection is none."""
        (line,) = self.told(
            VESPA_MAX_CONCURRENCY="4", VESPA_CONNECTION_LIMIT="100", VESPA_CONNECTION_LIMIT_PER_HOST="3"
        )
        self.assertIn("VESPA_CONNECTION_LIMIT_PER_HOST is 3, and VESPA_MAX_CONCURRENCY is 4", line)
        self.assertEqual(self.told(VESPA_MAX_CONCURRENCY="4", VESPA_CONNECTION_LIMIT="4"), ())
        self.assertEqual(self.told(VESPA_CONNECTION_LIMIT="1"), (), "there are no slots")
        self.assertEqual(self.told(VESPA_ALLOW_PARALLEL="false", VESPA_CONNECTION_LIMIT="1"), ())

    def test_engines(self) -> None:
        """Jobs and abort name the same engine, or a function."""
        (line,) = self.told(VESPA_JOBS="comfyui", VESPA_ABORT="sglang")
        self.assertIn("VESPA_JOBS is comfyui and VESPA_ABORT is sglang", line)
        (line,) = self.told(VESPA_JOBS="comfyui")
        self.assertIn("VESPA_JOBS is set and VESPA_ABORT is not", line)
        for jobs, abort in (("comfyui", "comfyui"), ("comfyui", "mine:stop"), ("mine:job", "comfyui"), ("", "sglang")):
            self.assertEqual(self.told(VESPA_JOBS=jobs, VESPA_ABORT=abort), ())

    def test_measures(self) -> None:
        """What corrects a figure needs that figure, and a unit of tokens that they are read."""
        (line,) = self.told(VESPA_RECALIBRATE="true")
        self.assertIn("VESPA_RECALIBRATE changes nothing without VESPA_BENCHMARK", line)
        (line,) = self.told(VESPA_USAGE_COUNT="total")
        self.assertIn("VESPA_USAGE_COUNT has no effect", line)
        self.assertEqual(self.told(VESPA_USAGE="openai", VESPA_USAGE_COUNT="total"), ())
        self.assertEqual(self.told(VESPA_RECALIBRATE="true", VESPA_BENCHMARK="benchmarks.openai_chat:benchmark"), ())

"""`vespa-proxy check` says whether the functions for an engine can be imported."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from vespa.checking.engine import check_engine
from vespa.config.worker import WorkerSettings
from vespa.config.worker_reading import load


def settings(**environment: str) -> WorkerSettings:
    return load({"VESPA_UNSECURED": "true", "VESPA_BACKEND_URL": "http://127.0.0.1:1", **environment})


class EngineTests(SynchronousTestCase):
    def test_off(self) -> None:
        """Nothing is said of what is not set."""
        self.assertEqual(check_engine(settings()), [])

    def test_set(self) -> None:
        """Known engines, and functions that can be imported."""
        found = check_engine(settings(VESPA_ABORT="comfyui", VESPA_JOBS="os.path:join"))
        self.assertEqual(
            [(each.state, each.why) for each in found],
            [("ok", "VESPA_ABORT=comfyui"), ("ok", "VESPA_JOBS: os.path:join can be imported")],
        )

    def test_wrong(self) -> None:
        """A function that is not there is named, with what to do."""
        for name, page in (("VESPA_ABORT", "docs/abort.md"), ("VESPA_JOBS", "docs/jobs.md")):
            (found,) = check_engine(settings(**{name: "os:nothing"}))
            self.assertEqual((found.state, found.why), ("failed", f"{name}=os:nothing: os has no nothing"))
            self.assertIn(page, found.advice)

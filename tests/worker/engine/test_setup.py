"""The settings decide what a worker knows of its engine."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import maybeDeferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.rig import Rig
from vespa.config.worker_reading import load
from vespa.engines.choice import JOB_KINDS, STOPPERS
from vespa.worker.backends.setup import backend_parts
from vespa.worker.engine.setup import EngineParts, engine_parts


def parts(clock: Any, **environment: str) -> EngineParts:
    settings = load({"VESPA_UNSECURED": "true", "VESPA_BACKEND_URL": "http://127.0.0.1:1", **environment})
    return engine_parts(clock, settings, backend_parts(clock, settings, {}, lambda throughput: None))


class SetupTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()

    def test_off(self) -> None:
        """By default nothing is there."""
        found = parts(self.clock)
        self.assertEqual((found.aborts, found.jobs, found.polls, found.reader), (None,) * 4)
        app = Rig().app
        before = [*app.on_drain]
        self.assertEqual((found.connect(app), app.on_drain), ([], before))

    def test_on(self) -> None:
        """Each setting makes its part. A job that took too long is stopped where the same engine can be."""
        found = parts(self.clock, VESPA_ABORT="sglang")
        self.assertEqual((found.aborts is None, found.jobs, len(found.connect(Rig().app))), (False, None, 1))
        for abort, seconds in (("", 0.0), ("comfyui", 10.0), ("comfyui-wrapper", 0.0)):
            found = parts(self.clock, VESPA_JOBS="comfyui", VESPA_ABORT=abort, VESPA_JOB_TIMEOUT="60")
            assert found.jobs is not None and found.polls is not None
            self.assertEqual((found.jobs.stop_seconds, found.jobs.seconds, found.polls.seconds), (seconds, 60.0, 600.0))
            self.assertIsNotNone(found.reader)

    def test_names(self) -> None:
        """The settings know every engine that there is."""
        for name in STOPPERS:
            self.assertIsNotNone(parts(self.clock, VESPA_ABORT=name).aborts)
        for name in JOB_KINDS:
            self.assertIsNotNone(parts(self.clock, VESPA_JOBS=name).jobs)

    def test_wrong_function(self) -> None:
        """A function that cannot be used is an error. `vespa.worker.obstacles` finds it before."""
        for name in ("VESPA_ABORT", "VESPA_JOBS"):
            error = self.assertRaises(ValueError, parts, self.clock, **{name: "os:nothing"})
            self.assertEqual(str(error), "os has no nothing")


class DrainTests(SynchronousTestCase):
    def test_time(self) -> None:
        """The time for jobs begins with the worker's end, not with that of its port."""
        clock = Clock()
        found = parts(clock, VESPA_JOBS="comfyui", VESPA_ABORT="comfyui", VESPA_DRAIN_TIMEOUT="8")
        assert found.jobs is not None
        waited: list[float] = []

        async def drained(seconds: float) -> None:
            waited.append(seconds)

        assert found.aborts is not None
        found.jobs.drained = drained  # type: ignore[method-assign]
        found.aborts.drained = drained  # type: ignore[method-assign]
        app = Rig().app
        found.connect(app)
        app.drain()
        clock.advance(5)
        self.successResultOf(maybeDeferred(found.drain.stopService))
        clock.advance(50)
        self.successResultOf(maybeDeferred(found.drain.stopService))
        self.assertEqual(waited, [3.0, 3.0, 0.0, 1.0])

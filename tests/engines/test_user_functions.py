"""A user's own functions get plain values, and an `ask` that they may await."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from tests.engines.asking import Asked
from vespa.engines.interface import Ask, EngineRequest, EngineResponse, JobState, UnexpectedResponse
from vespa.engines.user_functions import UserAbort, UserJobs

REQUEST = EngineRequest("POST", "/run", b'{"id": "abc"}')


class Abort(SynchronousTestCase):
    def test_coroutine(self) -> None:
        """It asks what it likes, and the work is stopped when it returns."""

        async def abort(request: EngineRequest, ask: Ask) -> None:
            answer = await ask("POST", f"/cancel/{request.json['id']}", {"now": True})
            self.assertEqual((answer.status, answer.json), (200, {"ok": 1}))

        stop = UserAbort(abort).begin(REQUEST)
        assert stop is not None
        self.assertFalse(stop.needs_response)
        backend = Asked(cancel__abc=EngineResponse(200, b'{"ok": 1}'))
        self.successResultOf(Deferred.fromCoroutine(stop.stop(backend, None)))
        self.assertEqual(backend.asked, [("POST", "/cancel/abc", {"now": True})])

    def test_plain(self) -> None:
        """A plain function will do where nothing is asked."""
        seen: list[EngineRequest] = []

        def abort(request: EngineRequest, ask: Ask) -> None:
            seen.append(request)

        stop = UserAbort(abort).begin(REQUEST)
        assert stop is not None
        self.successResultOf(Deferred.fromCoroutine(stop.stop(Asked(), None)))
        self.assertEqual(seen, [REQUEST])


class Jobs(SynchronousTestCase):
    def test_job(self) -> None:
        """The function returns what says whether the job is done: True, False, or None for not yet."""

        def job(request: EngineRequest, answer: EngineResponse) -> Callable[[Ask], Awaitable[bool | None]] | None:
            if answer.json is None:
                return None

            async def check(ask: Ask) -> bool | None:
                state = (await ask("GET", f"/result/{answer.json['id']}")).json
                return {"done": True, "failed": False}.get(state)

            return check

        kind = UserJobs(job)
        self.assertIsNone(kind.job(REQUEST, EngineResponse(200, b"no JSON")))
        self.assertEqual(
            (kind.may_begin("POST", "/x"), kind.may_begin("GET", "/x"), kind.is_poll("/x")), (True, False, True)
        )
        self.assertEqual((kind.is_cancel("DELETE", "/x"), kind.is_cancel("POST", "/x")), (True, False))
        found = kind.job(REQUEST, EngineResponse(202, b'{"id": 7}'))
        assert found is not None
        self.assertEqual(found.name, "/run")
        for text, state in (
            (b'"done"', JobState.DONE),
            (b'"failed"', JobState.ERROR),
            (b'"running"', JobState.WORKING),
        ):
            backend = Asked(result__7=EngineResponse(200, text))
            self.assertIs(self.successResultOf(Deferred.fromCoroutine(found.check(backend))), state)
        self.failureResultOf(Deferred.fromCoroutine(found.stop(backend)), UnexpectedResponse)

    def test_values(self) -> None:
        """JSON that cannot be read is None, and raises nothing."""
        for body in (b"", b"{", b"\xff", b"[" * 100_000):
            self.assertIsNone(EngineResponse(200, body).json)
            self.assertIsNone(EngineRequest("POST", "/", body).json)
        self.assertIsNone(EngineRequest("POST", "/").json)

"""The hand-written cases and the model say the same, each checking the other; no engine is needed for it."""

from __future__ import annotations

from functools import partial

from twisted.trial.unittest import SynchronousTestCase

from .cases import CLOSED, Answer, Case, Either, Forwarded, Local, Refused, Unfinished
from .driver import each
from .model import Verdict, verdicts
from .reader import Feed, Request, read_requests
from .requests import CASES


def agrees(response: Answer, verdict: Verdict) -> bool:
    """Whether the model allows what the case demands."""
    if isinstance(response, Either):
        return verdict.doubtful or agrees(response.one, verdict) or agrees(response.other, verdict)
    if isinstance(response, Unfinished):
        return verdict.kind == "unfinished"
    if isinstance(response, Refused):
        return verdict.kind == "refuse"
    if isinstance(response, Local):
        return verdict.kind == "local"
    assert isinstance(response, Forwarded)
    if verdict.kind != "forward" or verdict.request is None:
        return False
    body = response.body in (None, bytes(verdict.request.body))
    return response.target in (None, verdict.target) and response.method == verdict.request.method and body


def check(test: SynchronousTestCase, case: Case) -> None:
    """The model's verdicts are the case's answers, and what is more could only follow a close."""
    sent = b"".join(step for step in case.sent if isinstance(step, bytes))
    found = verdicts(sent)
    for number, response in enumerate(case.answers):
        test.assertLess(number, len(found), f"the model finds {len(found)} requests")
        test.assertTrue(agrees(response, found[number]), f"the model says {found[number]}")
    rest = [verdict for verdict in found[len(case.answers) :] if not verdict.optional]
    test.assertEqual(rest, [], "the model finds more requests")
    if case.after == CLOSED and found[-1].kind == "forward" and not found[-1].optional:
        request = found[-1].request
        assert request is not None
        closing = b"close" in request.tokens(b"connection") or request.version == 0
        test.assertTrue(closing, "nothing in the request closes the connection")


@each(CASES, check)
class ModelAgainstCases(SynchronousTestCase):
    """Each request case is what the model says of its bytes."""


class ReaderInPieces(SynchronousTestCase):
    """The strict reader reads the same from any pieces."""

    def test_byte_by_byte(self) -> None:
        """A connection's bytes one by one give the same requests and the same error as all at once."""
        for case in CASES:
            if (whole := case.whole) is None or len(whole) > 2000:
                continue
            outcomes = []
            for pieces in ([whole], [whole[i : i + 1] for i in range(len(whole))]):
                requests: list[Request] = []
                feed = Feed(partial(read_requests, requests=requests, head_limit=32768))
                for piece in pieces:
                    feed.feed(piece)
                feed.end()
                outcomes.append((requests, str(feed.error)))
            self.assertEqual(outcomes[0], outcomes[1], case.name)

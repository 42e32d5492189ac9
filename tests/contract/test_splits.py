"""Every message cut at every byte: where the network cuts it makes no difference (RFC 9112 section 2.2)."""

from __future__ import annotations

from collections.abc import Iterator

from twisted.trial.unittest import TestCase

from . import subject
from .cases import Case, Refused
from .driver import each, run_case
from .peers import Backend
from .requests import CASES as REQUESTS
from .response_cases import ResponseCase
from .response_driver import run_response_case
from .responses import CASES as RESPONSES

slow = True

# Of longer messages the first and the last bytes are cut everywhere, what lies between here and there.
EVERYWHERE = 160


def cuts(size: int) -> Iterator[int]:
    """Where to cut a message of this size in two."""
    for at in range(1, size):
        if at <= EVERYWHERE or size - at <= EVERYWHERE or at % 997 == 0:
            yield at


async def split_request(test: TestCase, case: Case) -> None:
    """The request in two parts, and byte by byte, has the outcome that it has in one."""
    whole = case.whole
    assert whole is not None
    backend = await Backend.start(test)
    port = await subject.start(test, backend.port, **case.limits)
    client = None
    for at in cuts(len(whole)):
        client = await run_case(test, case, backend, port, (whole[:at], whole[at:]), client, True)
    if len(whole) <= 2 * EVERYWHERE:
        client = await run_case(
            test, case, backend, port, tuple(whole[at : at + 1] for at in range(len(whole))), client, True
        )
    await run_case(test, case, backend, port, (whole,), client)


async def split_response(test: TestCase, case: ResponseCase) -> None:
    """The response in two parts, and byte by byte, has one of the outcomes that it may have in one."""
    raw, after = case.steps[0], case.steps[1:]
    assert isinstance(raw, bytes)
    backend = await Backend.start(test)
    port = await subject.start(test, backend.port)
    client = None
    for at in cuts(len(raw)):
        client = await run_response_case(test, case, backend, port, (raw[:at], raw[at:], *after), client, True)
    if len(raw) <= 2 * EVERYWHERE:
        singly = tuple(raw[at : at + 1] for at in range(len(raw)))
        client = await run_response_case(test, case, backend, port, (*singly, *after), client, True)
    await run_response_case(test, case, backend, port, case.steps, client)


def of_one_request(case: Case) -> bool:
    """Whether a case is one message sent in one go, so that cutting it leaves the same case."""
    return case.whole is not None and len(case.answers) == 1 and 1 < len(case.whole) < 50000


def is_cuttable(case: ResponseCase) -> bool:
    """Whether a case begins with bytes, and these come to a request that is whole."""
    return isinstance(case.steps[0], bytes) and 1 < len(case.steps[0]) < 50000 and case.at == "end"


@each([case for case in REQUESTS if of_one_request(case) and not isinstance(case.answers[0], Refused)], split_request)
class Accepted(TestCase):
    """Requests that are served, cut."""

    skip = subject.missing()
    timeout = 100


@each([case for case in REQUESTS if of_one_request(case) and isinstance(case.answers[0], Refused)], split_request)
class RefusedRequests(TestCase):
    """Requests that are refused, cut: what is wrong stays wrong."""

    skip = subject.missing()
    timeout = 100


@each([case for case in RESPONSES if is_cuttable(case)], split_response)
class Responses(TestCase):
    """Responses, cut."""

    skip = subject.missing()
    timeout = 100

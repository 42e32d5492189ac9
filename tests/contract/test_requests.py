"""Every request case, over sockets."""

from __future__ import annotations

from twisted.trial.unittest import TestCase

from . import subject
from .driver import each, run_case_alone
from .requests import CASES


@each(CASES, run_case_alone)
class Requests(TestCase):
    """What a client sends is refused, answered, or passed on as the table says."""

    skip = subject.missing()
    timeout = 60

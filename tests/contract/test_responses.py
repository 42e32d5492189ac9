"""Every response case, over sockets."""

from __future__ import annotations

from twisted.trial.unittest import TestCase

from . import subject
from .driver import each
from .response_driver import run_response_case_alone
from .responses import CASES


@each(CASES, run_response_case_alone)
class Responses(TestCase):
    """What a backend answers is passed on, replaced by a 502, or visibly cut as the table says."""

    skip = subject.missing()
    timeout = 60

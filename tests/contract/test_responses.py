"""Every reply case, over sockets."""

from __future__ import annotations

from twisted.trial.unittest import TestCase

from . import subject
from .driver import each
from .response_driver import play_reply
from .responses import CASES


@each(CASES, play_reply)
class Replies(TestCase):
    """What a backend answers is passed on, replaced by a 502, or visibly cut as the table says."""

    skip = subject.missing()
    timeout = 60

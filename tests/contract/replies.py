"""All reply cases, as data: what the backend does, and what the client must see."""

from __future__ import annotations

from . import reply_bad, reply_good
from .reply_cases import ReplyCase

CASES: tuple[ReplyCase, ...] = (*reply_good.CASES, *reply_bad.CASES)

"""All response cases, as data: what the backend does, and what the client must see."""

from __future__ import annotations

from . import bad_responses, good_responses
from .response_cases import ResponseCase

CASES: tuple[ResponseCase, ...] = (*good_responses.CASES, *bad_responses.CASES)

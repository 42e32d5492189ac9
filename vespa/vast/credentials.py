"""The allowed form of a key or token, which can stand in a header field without breaking it."""

from __future__ import annotations

import re
from typing import Final

LONGEST: Final = 4096  # characters that a key may have

_KEY: Final = re.compile(r"[!-~]+", re.ASCII)


def is_key(text: str) -> bool:
    """Whether this may be a key: printable ASCII without spaces, and not too long."""
    return len(text) <= LONGEST and _KEY.fullmatch(text) is not None

"""What must not be shown of a secret."""

from __future__ import annotations

from typing import Final

_SHORTEST: Final = 8  # characters


def secret_forms(value: str) -> list[str]:
    """
    What must not be shown of a secret field value: all of it, and its last part alone, as a server may repeat it.

    A last part of a few characters is a placeholder (`Bearer x`), and to hide it everywhere would hide words.
    """
    credentials = value.partition(" ")[2].strip()
    return [value, credentials] if len(credentials) >= _SHORTEST else [value] if value else []

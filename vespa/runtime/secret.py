"""What must not be shown of a secret."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

_SHORTEST: Final = 8  # characters


def secret_forms(value: str) -> list[str]:
    """
    What must not be shown of a secret field value: all of it, and its last part alone, as a server may repeat it.

    A last part of a few characters is a placeholder (`Bearer x`), and to hide it everywhere would hide words.
    """
    credentials = value.partition(" ")[2].strip()
    return [value, credentials] if len(credentials) >= _SHORTEST else [value] if value else []


def hidden(text: str, secrets: Iterable[str]) -> str:
    """`text` without the secrets, and without the beginning of one where `text` was cut off."""
    for secret in secrets:
        text = text.replace(secret, "[hidden]")
        body, cut = (text[:-1], text[-1]) if text.endswith("…") else (text, "")
        for size in range(min(len(secret), len(body)), _SHORTEST - 1, -1):
            if body.endswith(secret[:size]):
                text = body[:-size] + "[hidden]" + cut
                break
    return text

"""Hides secrets in texts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

_SHORTEST: Final = 8  # characters


def secret_forms(value: str) -> list[str]:
    """
    The texts to hide for a secret field value: all of it, and its last part alone, because a server may repeat that.

    A last part of a few characters is a placeholder (`Bearer x`). Hiding it everywhere would hide ordinary words.
    """
    credentials = value.partition(" ")[2].strip()
    return [value, credentials] if len(credentials) >= _SHORTEST else [value] if value else []


def hidden(text: str, secrets: Iterable[str]) -> str:
    """`text` without the secrets, and without the beginning of a secret at which `text` was cut off."""
    for secret in secrets:
        text = text.replace(secret, "[hidden]")
        body, cut = (text[:-1], text[-1]) if text.endswith("…") else (text, "")
        for size in range(min(len(secret), len(body)), _SHORTEST - 1, -1):
            if body.endswith(secret[:size]):
                text = body[:-size] + "[hidden]" + cut
                break
    return text

"""Hides secrets in texts for people."""

from __future__ import annotations

import re
from typing import Final

HIDDEN: Final = "[hidden]"
_SHORTEST: Final = 6  # a shorter value would blot out half of a log, and is no secret

# Secrets are known by value. These are for those that callers send: a parameter of a query, a member of JSON. Neither
# form is one of our sentences, in which "signature: does not match" has to stay.
_NAMES_OF_SECRETS = "serverless_signature|signature|api_key|mtoken|master_token"
_PARAMETER = re.compile(rf"([?&](?:{_NAMES_OF_SECRETS})=)[^\s&\"']+", re.I)
_MEMBER = re.compile(rf"""((["'])(?:{_NAMES_OF_SECRETS})\2\s{{0,8}}:\s{{0,8}}(["']))[^"']+""", re.I)


class Redaction:
    """The secrets of a process, and how texts look without them."""

    def __init__(self, *secrets: str) -> None:
        self._secrets: tuple[str, ...] = ()
        self.hide(*secrets)

    def hide(self, *secrets: str) -> None:
        """Hide these from now on, too."""
        self._secrets += tuple(secret for secret in secrets if len(secret) >= _SHORTEST)

    def without_values(self, text: str) -> str:
        """The text without the secrets that are known by value."""
        for secret in self._secrets:
            text = text.replace(secret, HIDDEN)
        return text

    def without_secrets(self, text: str) -> str:
        """The text without these, and without what looks like a caller's secret."""
        return without_named_secrets(self.without_values(text))


def without_named_secrets(text: str) -> str:
    """The text without the values that go by the name of a secret, in a query or in JSON."""
    if "=" in text:
        text = _PARAMETER.sub(rf"\1{HIDDEN}", text)
    if ":" in text:
        text = _MEMBER.sub(rf"\1{HIDDEN}", text)
    return text

"""The model that the backend serves, as the backend reports it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

from attrs import frozen

from vespa.runtime.http_client import BoundedClient, CallError

LONGEST: Final = 500
"""The maximum length of the text in characters. A longer one is replaced by a digest."""

# The members that distinguish models: vLLM names its files as `root`, llama.cpp gives sizes as `meta`. Other members,
# such as times and permissions, change with each start.
_TELLING: Final = ("id", "root", "parent", "meta")


@frozen
class ServedModel:
    """
    Reads `/v1/models`, which every OpenAI-compatible server has.

    `timeout` is in seconds. `name`: the model to choose if there are several; "": the first.
    """

    _http: BoundedClient
    _url: str
    _timeout: float
    _name: str = ""

    async def __call__(self) -> str:
        """A text that is the same for the same model, for comparison only; "" if the backend does not tell."""
        try:
            response = await self._http.request("GET", self._url, timeout=self._timeout)
        except CallError:
            return ""
        return told(response.body, self._name) if response.success and response.whole else ""


def told(body: bytes, name: str) -> str:
    """The text for the model called `name`, or for the first, in a list of models; "" if it is not such a list."""
    try:
        models: Any = json.loads(body)["data"]
        entries = [entry for entry in models if isinstance(entry, Mapping)]
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""
    chosen = [entry for entry in entries if entry.get("id") == name] if name else entries
    if not chosen:
        return ""
    text = json.dumps({key: chosen[0][key] for key in _TELLING if chosen[0].get(key) is not None}, sort_keys=True)
    return text if len(text) <= LONGEST else "sha256:" + hashlib.sha256(text.encode()).hexdigest()

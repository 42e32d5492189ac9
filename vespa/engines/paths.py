"""Paths as an engine's own server understands them."""

from __future__ import annotations

import posixpath
from functools import lru_cache
from urllib.parse import unquote


def decoded_path(target: bytes) -> str:
    """
    The path of a request target: without its query, decoded, and without dot segments and doubled slashes.

    Servers decode a path before they look for its route. So a caller cannot hide `/prompt` as `/%70rompt`.
    """
    return _decoded(target.partition(b"?")[0])


@lru_cache(256)
def _decoded(raw: bytes) -> str:
    path = unquote(raw.decode("latin-1"), errors="replace")
    if not path.startswith("/"):
        path = "/" + path.partition("://")[2].partition("/")[2]  # an absolute URL
    return "/" + posixpath.normpath(path).lstrip("/")


def begins_with(path: str, *beginnings: str) -> bool:
    """Whether a path is one of these, or below it."""
    return any(path == each or path.startswith(each + "/") for each in beginnings)

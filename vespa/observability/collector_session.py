"""
The HTTP session over which spans go to a collector. OpenTelemetry's own reads responses of any size into memory.

Import this module only where the extra `otlp` is installed.
"""

from __future__ import annotations

from io import BytesIO
from typing import Any, Final

import requests
from requests.adapters import HTTPAdapter

RESPONSE_MAX: Final = 65536
"""The number of bytes of a response's content that are read. A collector's has a few hundred at most."""


class _Adapter(HTTPAdapter):  # type: ignore[misc]  # an extra, which mypy does not see
    """Reads a bounded part of each response, and takes a redirect for the failure that it is."""

    def send(self, request: Any, *arguments: Any, **options: Any) -> Any:
        response = super().send(request, *arguments, **options)
        raw = response.raw
        content = raw.read(RESPONSE_MAX, decode_content=True)
        raw.close()  # it has given its connection back if that was all, and otherwise this closes it
        response.raw = BytesIO(content)
        if 300 <= response.status_code < 400:
            # The exporter follows none, and counts it as a success.
            raise requests.RequestException(
                f"the collector redirects with the status {response.status_code}: name the address that takes spans"
            )
        return response


def collector_session() -> requests.Session:
    """A session for any collector. Its requests raise RequestException, for a redirect too."""
    session = requests.Session()
    for scheme in ("http://", "https://"):
        session.mount(scheme, _Adapter())
    return session

"""URLs as treq takes them."""

from __future__ import annotations

from urllib.parse import urlsplit

from hyperlink import EncodedURL


class _Verbatim(EncodedURL):
    """A URL that is not to be encoded."""

    def to_uri(self) -> _Verbatim:
        return self


def treq_url(url: str) -> str | EncodedURL:
    """`url` as treq takes it: an IPv6 address it would encode as the name of a host, which fails (treq 26.7)."""
    return _Verbatim.from_text(url) if urlsplit(url).netloc.rpartition("@")[2].startswith("[") else url

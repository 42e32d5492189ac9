"""The Content-Security-Policy of a self-contained page: its inline style and script by their hashes, nothing else."""

from __future__ import annotations

import re
from base64 import b64encode
from hashlib import sha256
from typing import Final

_INLINE: Final = re.compile(rb"<(style|script)(?:\s[^>]*)?>(.*?)</\1\s*>", re.DOTALL | re.IGNORECASE)


def content_security_policy(page: bytes) -> bytes:
    """
    The policy's value for a page in HTML.

    It allows the page's inline `<style>` and `<script>` elements as they are, images and icons in `data:` URLs, and
    requests to the page's own origin. It forbids `style` attributes, event handler attributes, frames, and whatever
    comes from elsewhere.
    """
    hashes: dict[bytes, list[bytes]] = {b"style": [], b"script": []}
    for element, content in _INLINE.findall(page):
        hashes[element.lower()].append(b"'sha256-%b'" % b64encode(sha256(content).digest()))
    sources = {kind: b" ".join(each) or b"'none'" for kind, each in hashes.items()}
    return (
        b"default-src 'none'; style-src %b; script-src %b; connect-src 'self'; img-src data: 'self'; "
        b"form-action 'self'; base-uri 'none'; frame-ancestors 'none'" % (sources[b"style"], sources[b"script"])
    )

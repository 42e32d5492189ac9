"""The policy of a page."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256

from twisted.trial.unittest import SynchronousTestCase

from vespa.observability.content_security import content_security_policy


def hashed(content: bytes) -> bytes:
    return b"'sha256-" + b64encode(sha256(content).digest()) + b"'"


class PolicyTests(SynchronousTestCase):
    def test_inline(self) -> None:
        """Each inline style and script is allowed by its hash, exactly as it stands in the page."""
        page = (
            b'<!doctype html><style media="print">\n p { } </style><STYLE>b</STYLE >'
            b"<script>if (1 < 2) go('</style>')\n</script><script type=module>x</script><p>text</p>"
        )
        policy = dict(each.strip().split(b" ", 1) for each in content_security_policy(page).split(b";"))
        self.assertEqual(policy[b"style-src"], hashed(b"\n p { } ") + b" " + hashed(b"b"))
        self.assertEqual(policy[b"script-src"], hashed(b"if (1 < 2) go('</style>')\n") + b" " + hashed(b"x"))
        self.assertEqual(policy[b"default-src"], b"'none'")
        self.assertEqual(policy[b"frame-ancestors"], b"'none'")

    def test_nothing_inline(self) -> None:
        """A page without style and script may have none."""
        policy = content_security_policy(b"<p>text</p><styles>x</styles>")
        self.assertIn(b"style-src 'none'; script-src 'none';", policy)

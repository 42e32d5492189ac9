"""How descriptors are shared out."""

from __future__ import annotations

import errno
import os
import socket

from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from vespa.transport import splice
from vespa.transport.descriptors import PIPES_LEAST, PIPES_MOST, RESERVE, limit, share_out, tell


class Sharing(SynchronousTestCase):
    def test_shares(self) -> None:
        """Each connection may need another to the upstream, and what is reserved stays free."""
        for descriptors in (100, 128, 256, 1024, 4096, 20000, 1 << 20):
            shares = share_out(descriptors, 10000)
            taken = 2 * shares.connections + 2 * shares.pipes
            self.assertTrue(taken <= descriptors - RESERVE + 2 * PIPES_LEAST)
        self.assertEqual(share_out(256, 10000).connections, 96)
        self.assertEqual(share_out(1 << 20, 10000).connections, 10000)
        self.assertEqual(share_out(1 << 20, 10000).pipes, PIPES_MOST)

    def test_few_or_unknown(self) -> None:
        """There is always one connection; where no limit is known there are as many as are wanted."""
        self.assertEqual(share_out(10, 10000).connections, 1)
        self.assertEqual(share_out(None, 10000).connections, 10000)
        self.assertTrue(limit() is None or limit())

    def test_told(self) -> None:
        """The limit of connections is logged, as a warning if it is low."""
        for descriptors, level in ((256, LogLevel.warn), (20000, LogLevel.info), (1 << 20, LogLevel.info)):
            with capturedLogs() as events:
                tell(share_out(descriptors, 10000), 10000)
            self.assertEqual([event["log_level"] for event in events], [level], descriptors)

    def test_pipes(self) -> None:
        """Pipes are descriptors too: over their number bodies go as if there were none."""
        if not hasattr(os, "splice"):
            return
        self.patch(splice.Pipes, "most", splice.Pipes.count)
        a, b = socket.socketpair()
        try:
            error = self.assertRaises(OSError, splice.Splice, a, b, 1, lambda: None)
            self.assertEqual(error.errno, errno.EMFILE)
        finally:
            a.close()
            b.close()

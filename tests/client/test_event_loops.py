"""Which event loop runs, and when a future is done. `test_embedded` has the whole."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future

from twisted.trial.unittest import SynchronousTestCase

from vespa.client.event_loops import done_deferred, in_asyncio


class LoopTests(SynchronousTestCase):
    def test_in_asyncio(self) -> None:
        """A task of asyncio is noticed, and code outside of it is not."""

        async def main() -> bool:
            return in_asyncio()

        self.assertTrue(asyncio.run(main()))
        self.assertFalse(in_asyncio())

    def test_done(self) -> None:
        """The Deferred fires when the future is done, whatever its result."""
        future: Future[None] = Future()
        done = done_deferred(future)
        self.assertNoResult(done)
        future.set_exception(ZeroDivisionError())
        self.assertIsNone(self.successResultOf(done))

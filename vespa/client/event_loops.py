"""What a program's event loop has to do with the client in it."""

from __future__ import annotations

import sys
from concurrent.futures import Future
from typing import Any

from twisted.internet.defer import Deferred


def in_asyncio() -> bool:
    """Whether an asyncio task is running. Twisted's own code on an asyncio loop has no task."""
    asyncio: Any = sys.modules.get("asyncio")
    if asyncio is None:
        return False
    try:
        return asyncio.current_task() is not None
    except RuntimeError:  # no event loop runs in this thread
        return False


def done_deferred(future: Future[Any]) -> Deferred[None]:
    """Fires when a future is done. Cancelling it does not affect the future."""
    done: Deferred[None] = Deferred()
    future.add_done_callback(lambda _: done.callback(None))
    return done

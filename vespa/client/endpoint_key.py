"""The endpoint's key: given, or looked up at the console with the account's."""

from __future__ import annotations

import re
from typing import Final

from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure

from vespa.client.console import Console

_is_key: Final = re.compile(r"[!-~]{1,4096}", re.ASCII).fullmatch


class EndpointKey:
    """
    One endpoint's key. `value` is "" while it is not known.

    It is looked up when it is first needed, once for all who need it, and again after `forget`.
    """

    def __init__(
        self, endpoint: str, *, given: str = "", account_key: str = "", console: Console | None = None
    ) -> None:
        """A `given` key is looked up only after a `forget`. Raises ValueError where there is no key to be had."""
        if given and not _is_key(given):
            raise ValueError("the endpoint's key has characters that no key has")
        if not given and (not account_key or console is None):
            raise ValueError("neither the endpoint's key nor the account's is known")
        self.value = given
        self._endpoint = endpoint
        self._account_key = account_key
        self._console = console
        self._finding: Deferred[str] | None = None
        self._waiting: list[Deferred[str]] = []

    def forget(self) -> bool:
        """It was refused: whether another can be looked up."""
        if not self._account_key or self._console is None:
            return False
        self.value = ""
        return True

    def find(self) -> Deferred[str]:
        """Fires with the key, or fails with ConsoleError; may be cancelled."""
        if self.value:
            return succeed(self.value)
        waiting: Deferred[str] = Deferred(self._leave)
        self._waiting.append(waiting)
        if self._finding is None:
            self._finding = Deferred.fromCoroutine(self._look_up())
            self._finding.addBoth(self._found)
        return waiting

    def close(self) -> None:
        """Look no further."""
        finding, self._finding = self._finding, None
        if finding is not None:
            finding.cancel()

    def _leave(self, waiting: Deferred[str]) -> None:
        if waiting in self._waiting:
            self._waiting.remove(waiting)

    async def _look_up(self) -> str:
        assert self._console is not None
        return (await self._console.endpoint(self._account_key, self._endpoint)).api_key

    def _found(self, result: str | Failure) -> None:
        self._finding = None
        if isinstance(result, str):
            self.value = result
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            if isinstance(result, str):
                each.callback(result)
            else:
                each.errback(result)

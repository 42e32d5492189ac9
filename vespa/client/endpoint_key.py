"""The endpoint's key: given, or looked up at the console with the account's key."""

from __future__ import annotations

from typing import Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from vespa.client.console import Console, EndpointInfo
from vespa.runtime.redaction import HIDDEN
from vespa.runtime.single_flight import SingleFlight
from vespa.vast.credentials import is_key

LOOK_UP_SECONDS: Final = 30.0  # the minimum time between two look-ups after the autoscaler refused a key

SOFT_SECONDS: Final = 3 * 86400.0
"""A key of this age is looked up again in the background. A failure of that look-up has no effect."""
HARD_SECONDS: Final = 6 * 86400.0  # a key of this age is not used before it is looked up again

_SOFT_AGAIN_SECONDS: Final = 3600.0
_HELD_MAX: Final = 15


class EndpointKey:
    """
    An endpoint's `name` and its key. `value` is "" while the key is unknown.

    The key is looked up when it is first needed, once for all callers, and again when it is refused. If the endpoint
    was named by its id, `name` becomes its name. After its first look-up, the console is asked for this endpoint alone.
    """

    def __init__(
        self, name: str, clock: IReactorTime, *, given: str = "", account_key: str = "", console: Console | None = None
    ) -> None:
        """A `given` key is looked up only after it is refused. Raises ValueError if there is no way to get a key."""
        if given and not is_key(given):
            raise ValueError("the endpoint's key has characters that a key must not have")
        if not given and (not account_key or console is None):
            raise ValueError("no key: give the endpoint's (api_key) or the account's (account_key)")
        self.name = name
        self.value = given
        self._account_key = account_key
        self._console = console
        self._clock = clock
        self._asked_at = -LOOK_UP_SECONDS
        # With an account's key at hand, a given key was looked up just before.
        self._found_at = clock.seconds()
        self._held = [given]
        self._id: int | None = None  # of the endpoint, after its first look-up by name
        self._finding: SingleFlight[EndpointInfo] = SingleFlight(self._look_up)

    def current(self) -> str:
        """The key to use now; "" if it must be looked up first. A key of some days is looked up in the background."""
        if not self.value or not self._account_key or self._console is None:
            return self.value
        now = self._clock.seconds()
        age = now - self._found_at
        if age < SOFT_SECONDS:
            return self.value
        if age >= HARD_SECONDS:
            return ""
        if now - self._asked_at >= _SOFT_AGAIN_SECONDS:
            self.find().addErrback(lambda _: None)  # it is repeated, and must succeed before `HARD_SECONDS`
        return self.value

    def may_look_up(self) -> bool:
        """
        Whether to look up another key after one was refused. Until it is found, the old one stays.

        Once in `LOOK_UP_SECONDS`: if a key is refused right after its look-up, there is no better one.
        """
        if not self._account_key or self._console is None:
            return False
        return self._clock.seconds() - self._asked_at >= LOOK_UP_SECONDS

    def hidden_in(self, text: str) -> str:
        """A foreign text in which every key is hidden."""
        for secret in (*self._held, self._account_key):
            if secret:
                text = text.replace(secret, HIDDEN)
        return text

    def find(self) -> Deferred[str]:
        """Look the key up. Fires with it, or fails with ConsoleError; may be cancelled."""
        return self._finding.join().addCallback(self._found)

    async def _look_up(self) -> EndpointInfo:
        assert self._console is not None
        self._asked_at = self._clock.seconds()
        if self._id is not None:
            found = await self._console.endpoint_again(self._account_key, self._id)
            if found is not None:
                return found
            self._id = None  # it was deleted; another one may have its name
        return await self._console.endpoint(self._account_key, self.name)

    def _found(self, endpoint: EndpointInfo) -> str:
        self.name, self.value, self._id = endpoint.name, endpoint.api_key, endpoint.id
        self._found_at = self._clock.seconds()
        if self.value not in self._held:
            self._held = [*self._held[-_HELD_MAX:], self.value]
        return self.value

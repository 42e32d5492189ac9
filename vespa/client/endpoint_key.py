"""The endpoint's key: given, or looked up at the console with the account's."""

from __future__ import annotations

from typing import Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from vespa.client.console import Console, EndpointInfo
from vespa.runtime.logging import HIDDEN
from vespa.runtime.single_flight import SingleFlight
from vespa.vast.credentials import is_key

LOOK_UP_SECONDS: Final = 30.0
"""The least time between two look-ups after a key was refused."""

SOFT_SECONDS: Final = 3 * 86400.0
"""A key that was looked up so long ago is looked up anew beside what it is used for; what fails then is no matter."""
HARD_SECONDS: Final = 6 * 86400.0
"""One older than this is not used before it was looked up anew."""

_SOFT_AGAIN_SECONDS: Final = 3600.0
_HELD_MAX: Final = 15


class EndpointKey:
    """
    What an endpoint is called by: its `name`, and its key. `value` is "" while the key is not known.

    It is looked up when it is first needed, once for all who need it, and again when it is refused. An endpoint that
    was named by its id has its name from then on.
    """

    def __init__(
        self, name: str, clock: IReactorTime, *, given: str = "", account_key: str = "", console: Console | None = None
    ) -> None:
        """A `given` key is looked up only once it is refused. Raises ValueError where there is no key to be had."""
        if given and not is_key(given):
            raise ValueError("the endpoint's key has characters that no key has")
        if not given and (not account_key or console is None):
            raise ValueError("a key is needed: the endpoint's (api_key), or the account's (account_key)")
        self.name = name
        self.value = given
        self._account_key = account_key
        self._console = console
        self._clock = clock
        self._asked_at = -LOOK_UP_SECONDS
        # With an account's key at hand, a given one was looked up just now.
        self._found_at = clock.seconds()
        self._held = [given]
        self._finding: SingleFlight[EndpointInfo] = SingleFlight(self._look_up)

    def current(self) -> str:
        """The key to use now; "" where it has to be looked up first. One of some days is looked up anew meanwhile."""
        if not self.value or not self._account_key or self._console is None:
            return self.value
        now = self._clock.seconds()
        age = now - self._found_at
        if age < SOFT_SECONDS:
            return self.value
        if age >= HARD_SECONDS:
            return ""
        if now - self._asked_at >= _SOFT_AGAIN_SECONDS:
            self.find().addErrback(lambda _: None)  # it is asked again, and in the end it has to be answered
        return self.value

    def may_look_up(self) -> bool:
        """
        Whether another key may be looked up in place of one that was refused; until it is found, that one stays.

        It may once in `LOOK_UP_SECONDS`: a key that is refused as soon as it was found is what there is.
        """
        if not self._account_key or self._console is None:
            return False
        return self._clock.seconds() - self._asked_at >= LOOK_UP_SECONDS

    def hidden_in(self, text: str) -> str:
        """A text from elsewhere, in which no key that was ever held is to be read."""
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
        return await self._console.endpoint(self._account_key, self.name)

    def _found(self, endpoint: EndpointInfo) -> str:
        self.name, self.value = endpoint.name, endpoint.api_key
        self._found_at = self._clock.seconds()
        if self.value not in self._held:
            self._held = [*self._held[-_HELD_MAX:], self.value]
        return self.value

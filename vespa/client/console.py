"""Vast's console: the endpoints of an account, and the key of each."""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from typing import Any, Final

import msgspec
from attrs import field, frozen

from vespa.runtime.http_client import BoundedClient, CallError, Response
from vespa.vast.credentials import is_key

RESPONSE_LIMIT: Final = 4 << 20  # the maximum length of a list in bytes: thousands of endpoints

_LISTED: Final = 10
_NUMBERS: Final = ("cold_workers", "max_workers", "min_load", "target_util", "cold_mult")
_MALFORMED = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class ConsoleError(Exception):
    """The console gave no response, or not the expected one. The text is for people and contains no key.

    `final`: the same request would fail again. Otherwise a retry may help, because the network or the console failed.
    """

    def __init__(self, message: str, *, final: bool = False) -> None:
        super().__init__(message)
        self.final = final


@frozen(kw_only=True)
class EndpointInfo:
    """One endpoint of an account. A number is None if the console does not give it."""

    id: int
    name: str
    api_key: str = field(repr=False)
    state: str = ""
    cold_workers: float | None = None
    max_workers: float | None = None
    min_load: float | None = None
    target_util: float | None = None
    cold_mult: float | None = None


class KeyRefused(ConsoleError):
    """The console rejects the account key, or it does not allow this: another key may work."""

    def __init__(self, message: str) -> None:
        super().__init__(message, final=True)


class Console:
    """Calls the console at `url`; `timeout` in seconds is for one whole response. It does not follow redirects."""

    def __init__(self, url: str, http: BoundedClient, *, instance: str = "prod", timeout: float = 10.0) -> None:
        self._url = url.rstrip("/")
        self._http = http
        self._instance = instance
        self._timeout = timeout

    async def endpoints(self, account_key: str) -> list[EndpointInfo]:
        """The account's endpoints, by name. Raises ConsoleError."""
        response = await self._get(account_key, f"endptjobs/?client_id=me&autoscaler_instance={self._instance}")
        if not response.success:
            raise self._refused(response.status)
        return sorted(self._read(response), key=lambda row: (row.name.lower(), row.id))

    async def endpoint(self, account_key: str, name: str) -> EndpointInfo:
        """
        The endpoint with that name or id, and its key.

        Raises ConsoleError if there is none, with similar names, or if the console does not give the key.
        """
        found = find(await self.endpoints(account_key), name)
        if not found.api_key:
            raise ConsoleError(f"the console does not give this account the key of endpoint {found.name}", final=True)
        return found

    async def endpoint_again(self, account_key: str, number: int) -> EndpointInfo | None:
        """
        The endpoint with that id, by a request for it alone. Raises ConsoleError if it is worth trying again.

        None if the console answers otherwise than with that endpoint and its key. Then `endpoint` tells why.
        """
        response = await self._get(account_key, f"endptjobs/{number}/")
        if response.status in (401, 429) or response.status >= 500:
            raise self._refused(response.status)
        if not (response.success and response.whole):
            return None
        try:
            found = _info(_decode_one(response.body).result)
        except _MALFORMED:
            return None
        return found if found.id == number and found.name and found.api_key else None

    async def _get(self, account_key: str, what: str) -> Response:
        """Ask the console. Raises ConsoleError if it does not respond."""
        if not is_key(account_key):
            raise KeyRefused("the account key is empty, or has characters that a key must not have")
        try:
            return await self._http.request(
                "GET",
                f"{self._url}/api/v0/{what}",
                timeout=self._timeout,
                headers={"Authorization": f"Bearer {account_key}", "Accept": "application/json"},
                limit=RESPONSE_LIMIT,
            )
        except CallError as error:
            raise ConsoleError(f"the console at {self._url} cannot be reached: {error}") from None

    def _refused(self, status: int) -> ConsoleError:
        where = f"the console at {self._url}"
        if status == 401:
            return KeyRefused(f"{where} does not accept the account key (401)")
        if status == 403:
            return KeyRefused(f"{where} does not let this account key list endpoints (403)")
        if status == 404:
            return ConsoleError(f"{where} has no list of endpoints (404): check its address", final=True)
        if 300 <= status < 400:
            return ConsoleError(f"{where} redirects to another address ({status}): check its address", final=True)
        if status == 429:
            return ConsoleError(f"{where} received too many requests (429): try again later")
        return ConsoleError(f"{where} answered {status}", final=400 <= status < 500)

    def _read(self, response: Response) -> list[EndpointInfo]:
        if not response.whole:
            raise ConsoleError(
                f"the list of endpoints from {self._url} is incomplete, or is over {RESPONSE_LIMIT >> 20} MB"
            )
        try:
            return [_info(row) for row in _decode(response.body).results if row.endpoint_name]
        except _MALFORMED as error:
            # The error names the place and the type, never the value.
            why = str(error) if isinstance(error, msgspec.ValidationError) else "it is not JSON"
            raise ConsoleError(f"the console at {self._url} sent a malformed list of endpoints: {why}") from None


def find(rows: Sequence[EndpointInfo], name: str) -> EndpointInfo:
    """The row with that name or id. Raises ConsoleError if there is none, with similar names."""
    found = [row for row in rows if row.name == name] or [row for row in rows if str(row.id) == name]
    if len(found) == 1:
        return found[0]
    if found:
        ids = ", ".join(str(row.id) for row in found)
        raise ConsoleError(f"the account has {len(found)} endpoints named {name!r}: choose an id ({ids})", final=True)
    if not rows:
        raise ConsoleError("the account has no endpoints", final=True)
    lowered = {row.name.lower(): row.name for row in rows}
    near = [lowered[each] for each in difflib.get_close_matches(name.lower(), lowered, n=3)]
    if near:
        hint = f"did you mean {' or '.join(near)}?"
    else:
        names = [row.name for row in rows[:_LISTED]]
        hint = f"there {'is' if len(rows) == 1 else 'are'} {', '.join(names)}{' …' if len(rows) > _LISTED else ''}"
    raise ConsoleError(f"the account has no endpoint {name!r}; {hint}", final=True)


class _Row(msgspec.Struct):
    id: int
    endpoint_name: str | None = None  # an endpoint without a name cannot be used
    api_key: str | None = None
    endpoint_state: Any = ""
    cold_workers: Any = None
    max_workers: Any = None
    min_load: Any = None
    target_util: Any = None
    cold_mult: Any = None


class _List(msgspec.Struct):
    results: list[_Row]


class _One(msgspec.Struct):
    result: _Row


_decode = msgspec.json.Decoder(_List).decode
_decode_one = msgspec.json.Decoder(_One).decode


def _info(row: _Row) -> EndpointInfo:
    # A name on a terminal must not contain control characters, and a key in a field must not end the field.
    name, key = row.endpoint_name or "", row.api_key or ""
    if not name.isprintable() or len(name) > 1000:
        raise msgspec.ValidationError(f"endpoint {row.id} has a name with characters that cannot be shown")
    if key and not is_key(key):
        raise msgspec.ValidationError(f"endpoint {row.id} has a key with characters that a key must not have")
    state = row.endpoint_state
    return EndpointInfo(
        id=row.id,
        name=name,
        api_key=key,
        state=state if isinstance(state, str) and state.isprintable() else "",
        **{each: number(getattr(row, each)) for each in _NUMBERS},
    )


def number(value: object) -> float | None:
    """A number for display; None for anything else, because a wrong one must not hide the others."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return value if math.isfinite(value) else None
    except OverflowError:  # an integer of hundreds of digits
        return None

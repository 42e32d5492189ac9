"""Asks for missing settings: shows an account's endpoints as a table, and asks for one of them and for a port."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from attrs import evolve

from vespa.client.command.launch import LaunchError
from vespa.client.command.questions import Asks
from vespa.client.console import Console, ConsoleError, EndpointInfo, KeyRefused, find
from vespa.config.client import ClientSettings

if TYPE_CHECKING:
    from rich.table import Table

TRIES: Final = 3
_HEADINGS: Final = ("name", "id", "state", "cold workers", "max workers", "min load", "target use")


def table(rows: Sequence[EndpointInfo], *, numbered: bool = False) -> Table:
    """The endpoints as a table; `numbered` adds a first column with numbers from 1."""
    from rich.table import Column, Table  # only here, because a daemon draws nothing

    # On a narrow terminal, cells are folded and not cut, so that names stay whole.
    columns = [Column(heading, overflow="fold") for heading in (*[""] * numbered, *_HEADINGS)]
    drawn = Table(*columns, box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for number, row in enumerate(rows, 1):
        values = (row.cold_workers, row.max_workers, row.min_load, row.target_util)
        cells = [row.name, str(row.id), row.state or "?", *("-" if each is None else f"{each:g}" for each in values)]
        drawn.add_row(*([str(number)] if numbered else []), *cells)
    return drawn


async def endpoints_of(console: Console, account_key: str, asks: Asks | None) -> tuple[str, list[EndpointInfo]]:
    """
    The account's endpoints, and the key that opened the list.

    With `asks` it asks for a key that is missing or refused. Raises ConsoleError, EOFError.
    """
    for tries_left in reversed(range(TRIES + 1)):
        if not account_key and asks is not None:
            account_key = await asks.ask("Account key (it is not shown): ", hidden=True)
        try:
            return account_key, await console.endpoints(account_key)
        except KeyRefused as error:
            if asks is None or not tries_left:
                raise
            asks.say(str(error))
            account_key = ""
    raise AssertionError("the last try returned or raised")


async def choose(settings: ClientSettings, console: Console, asks: Asks, *, port_given: bool) -> ClientSettings:
    """Ask for the missing settings: endpoint, key, port. Raises ConsoleError, LaunchError, EOFError."""
    if settings.endpoint_key:
        # The key belongs to one endpoint, but does not say to which.
        while not settings.endpoint:
            answer = await asks.ask("Name of the endpoint: ")
            try:
                settings = evolve(settings, endpoint=answer)
            except ValueError as error:  # an arrow key puts control characters into the answer
                asks.say(str(error))
    else:
        account_key, rows = await endpoints_of(console, settings.account_key, asks)
        row = await _chosen(rows, asks)
        if not row.api_key:
            raise LaunchError(f"the console does not give this account the key of endpoint {row.name}")
        settings = evolve(settings, account_key=account_key, endpoint=row.name, endpoint_key=row.api_key)
    return settings if port_given else evolve(settings, port=await _port(settings.port, asks))


async def _chosen(rows: Sequence[EndpointInfo], asks: Asks) -> EndpointInfo:
    if not rows:
        raise LaunchError("the account has no endpoints")
    for shown in ("", table(rows, numbered=True), ""):
        asks.say(shown)
    while True:
        answer = await asks.ask("Endpoint [1]: " if len(rows) == 1 else f"Endpoint, 1 to {len(rows)}: ")
        if not answer and len(rows) == 1:
            answer = "1"
        if answer.isdecimal() and 1 <= int(answer) <= len(rows):
            return rows[int(answer) - 1]
        if answer:
            try:
                return find(rows, answer)
            except ConsoleError as error:
                asks.say(str(error))


async def _port(default: int, asks: Asks) -> int:
    while True:
        answer = await asks.ask(f"Port [{default}]: ")
        if not answer:
            return default
        if answer.isascii() and answer.isdecimal() and int(answer) <= 65535:
            return int(answer)
        asks.say("a port is a number from 0 (any free port) to 65535")

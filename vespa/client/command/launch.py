"""Starts a proxy from its settings, for the command and for twistd."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from attrs import evolve
from twisted.internet.error import CannotListenError
from twisted.logger import Logger

from vespa.client.console import Console, ConsoleError
from vespa.config.client import ClientSettings
from vespa.http.agent import Agent
from vespa.runtime.http_client import BoundedClient
from vespa.runtime.trust import trust_roots

if TYPE_CHECKING:
    from vespa.client.service import ClientService

log = Logger()

_ADMIN_EXAMPLE: Final = "tcp:9465:interface=127.0.0.1, unix:/run/vespa-admin.sock or off"

OnWait = Callable[[str, float], None]


class LaunchError(Exception):
    """The proxy cannot start. The text is one sentence for people, without keys."""


MakeClient = Callable[..., "ClientService"]  # `make_client`, or a stand-in


@contextmanager
def http_of(reactor: Any) -> Iterator[BoundedClient]:
    """A client for the command's own requests. Its connections are closed afterwards."""
    agent = Agent(reactor, name="console")
    try:
        yield BoundedClient(agent, reactor)
    finally:
        agent.close()


@contextmanager
def console_of(reactor: Any, settings: ClientSettings) -> Iterator[Console]:
    """The console of these settings. Its connections are closed afterwards."""
    with http_of(reactor) as http:
        yield Console(settings.console_url, http, instance=settings.instance)


async def launch(
    reactor: Any,
    settings: ClientSettings,
    *,
    on_wait: OnWait,
    hide: Callable[[str], None] = lambda key: None,
    make: MakeClient | None = None,
) -> tuple[ClientService, ClientSettings]:
    """
    Find the endpoint's key if it is missing, listen, and return the proxy with its final settings.

    `hide` is called with the keys, one of which may just have been found. If the console does not respond, the proxy
    starts, and looks up the key when it needs it. Raises LaunchError; may be cancelled.
    """
    if make is None:
        # The rest of the program is only loaded here, because it takes time.
        from vespa.client.service import make_client

        make = make_client
    try:
        trust_roots(settings.worker_ca)
    except (OSError, ValueError) as error:
        raise LaunchError(f"--worker-ca={settings.worker_ca!r}: {error or type(error).__name__}") from None
    if settings.admin_listen:
        from vespa.transport.endpoint_problem import endpoint_problem

        if problem := endpoint_problem(reactor, settings.admin_listen, "--admin-listen", _ADMIN_EXAMPLE):
            raise LaunchError(problem)
    settings = await _with_key(reactor, settings)
    for key in (settings.endpoint_key, settings.account_key):
        hide(key)
    try:
        client = make(reactor, settings, on_wait=on_wait)
    except (OSError, ValueError) as error:
        raise LaunchError(str(error) or type(error).__name__) from None
    try:
        client.privilegedStartService()
        client.startService()
    except CannotListenError as error:
        from vespa.proxy.listener import cannot_listen

        where = f"{settings.host} port {settings.port}"
        raise LaunchError(cannot_listen(where, error, "--port or VESPA_CLIENT_PORT")) from None
    return client, settings


async def _with_key(reactor: Any, settings: ClientSettings) -> ClientSettings:
    if settings.endpoint_key or not settings.account_key or settings.debug_worker_url:
        return settings
    with console_of(reactor, settings) as console:
        try:
            found = await console.endpoint(settings.account_key, settings.endpoint)
        except ConsoleError as error:
            if error.final:
                raise LaunchError(str(error)) from None
            log.warn("{error}; the proxy looks up the endpoint's key when it needs it", error=str(error))
            return settings
    return evolve(settings, endpoint=found.name, endpoint_key=found.api_key)

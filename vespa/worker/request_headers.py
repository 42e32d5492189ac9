"""The request line and fields that the worker sends to its backend."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from vespa.protocol.origin_fields import readdressed
from vespa.protocol.request_head import RequestHead
from vespa.protocol.via import Via
from vespa.proxy.exchange import Exchange
from vespa.proxy.forwarded_fields import forwarded_lines
from vespa.proxy.interfaces import HeaderPolicy
from vespa.proxy.sse_keepalive import uncoded
from vespa.transport.origin import Origin
from vespa.worker.policy import Policy

_KEPT_MAX: Final = 4096  # the longest head, in bytes, that is kept with its connection


class WorkerRequestHeaders:
    """A request's head for the backend: the caller's, without the fields of this hop and those for the autoscaler."""

    def __init__(self, policy: Policy, via: Via, target: Callable[[RequestHead], bytes], backend: Origin) -> None:
        """`target` removes signed parameters from a query."""
        self._target = target
        self._secured = policy.secured
        self._via = via.lines
        self._origin = b"%b://%b" % (backend.scheme.encode("ascii"), backend.host_field)
        self._path_prefix = backend.path_prefix
        self._tail = b" HTTP/1.1\r\nHost: %b\r\n" % backend.host_field
        key = policy.authorization.encode("ascii")
        self._authorization = b"Authorization: " + key + b"\r\n" if key else b""

    def request_head(self, exchange: Exchange) -> bytes:
        """The request line and fields, without framing. The result for a connection's last head is kept with it."""
        head, client = exchange.head, exchange.client
        enveloped = exchange.content is not None
        if head is client.sent_head and enveloped is client.sent_enveloped and exchange.early is None:
            return client.sent_fields
        fields = self._request_head(exchange, enveloped)
        if (
            exchange.early is None and b"?" not in head.target and len(fields) <= _KEPT_MAX
        ):  # a signed query rarely repeats
            client.sent_head, client.sent_enveloped, client.sent_fields = head, enveloped, fields
        return fields

    def _request_head(self, exchange: Exchange, enveloped: bool) -> bytes:
        head, client = exchange.head, exchange.client
        target, fields = head.target, head.fields_block
        if b"?" in target:
            target = self._target(head)
        if exchange.early is not None:
            fields = uncoded(fields)
        if head.sources and head.host:
            fields = readdressed(
                fields,
                head.sources,
                host=head.host,
                secure=client.secure,
                origin=self._origin,
                path_prefix=self._path_prefix,
            )
        parts = [head.method, b" ", self._path_prefix, target, self._tail, fields]
        # On Vast.ai the Authorization holds the endpoint's key; a plain request to an unsecured worker keeps its own.
        if self._authorization:
            parts.append(self._authorization)
        elif head.authorization:
            parts += _own_authorization(head.authorization, not enveloped and not self._secured)
        parts += (forwarded_lines(client, head, believed=enveloped), self._via[head.minor])
        return b"".join(parts)


class _HeadersOfOne(WorkerRequestHeaders):
    """Those for one of several backends. A result that is kept with a connection is used for this backend only."""

    def __init__(self, policy: Policy, via: Via, target: Callable[[RequestHead], bytes], backend: Origin) -> None:
        super().__init__(policy, via, target, backend)
        self._kept: tuple[object, object] = (object(), object())  # in the place of `enveloped`, without and with one

    def request_head(self, exchange: Exchange) -> bytes:
        head, client = exchange.head, exchange.client
        enveloped = exchange.content is not None
        kept = self._kept[enveloped]
        if head is client.sent_head and kept is client.sent_enveloped and exchange.early is None:
            return client.sent_fields
        fields = self._request_head(exchange, enveloped)
        if exchange.early is None and b"?" not in head.target and len(fields) <= _KEPT_MAX:
            client.sent_head, client.sent_enveloped, client.sent_fields = head, kept, fields
        return fields


class BackendsRequestHeaders:
    """`WorkerRequestHeaders` for several backends, each with its own Host, path prefix and Origin."""

    def __init__(
        self, policy: Policy, via: Via, target: Callable[[RequestHead], bytes], backends: Mapping[Any, Origin]
    ) -> None:
        """`backends` has the origin of each `exchange.backend`."""
        self._each = {
            backend: _HeadersOfOne(policy, via, target, origin).request_head for backend, origin in backends.items()
        }

    def request_head(self, exchange: Exchange) -> bytes:
        """The request line and fields for the exchange's backend."""
        return self._each[exchange.backend](exchange)


_check: type[HeaderPolicy[Exchange]] = WorkerRequestHeaders
_check_several: type[HeaderPolicy[Exchange]] = BackendsRequestHeaders


def _own_authorization(lines: Sequence[bytes], plain: bool) -> list[bytes]:
    """A caller's credentials for the backend: those that a client passes on, or all of a plain request."""
    told = []
    for line in lines:
        name, _, value = line.partition(b":")
        if name.lower() == b"x-vespa-authorization":
            told.append(b"Authorization: " + value.strip(b" \t") + b"\r\n")
    return told or ([line + b"\r\n" for line in lines] if plain else [])

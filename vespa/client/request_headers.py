"""The request line and fields that the client sends to a worker."""

from __future__ import annotations

from vespa.client.passed_headers import passed_lines
from vespa.client.policy import Policy
from vespa.protocol.origin_fields import readdressed
from vespa.protocol.via import Via
from vespa.proxy.exchange import Exchange
from vespa.proxy.forwarded_fields import addressed_lines
from vespa.proxy.interfaces import HeaderPolicy
from vespa.proxy.sse_keepalive import uncoded
from vespa.vast.query_envelope import callers_own


class ClientRequestHeaders:
    """A request's head for its worker: the caller's without private fields, with the assignment."""

    def __init__(self, policy: Policy, via: Via) -> None:
        self._passes = policy.passes
        self._token = policy.token
        self._via = via.lines

    def request_head(self, exchange: Exchange) -> bytes:
        """The request line and fields, without framing. Without an envelope the query carries the assignment."""
        head, client, content, selection = exchange.head, exchange.client, exchange.content, exchange.selection
        path, _, query = head.target.partition(b"?")
        query = callers_own(query) if query else query
        if not content.enveloped:
            signed = selection.assignment.query
            query = query + b"&" + signed if query else signed
        origin = selection.worker.origin
        parts = [head.method, b" ", origin.path_prefix, path]
        if query:
            parts += (b"?", query)
        fields = content.fields.block
        if exchange.early is not None:
            fields = uncoded(fields)
        if head.sources and head.host:
            fields = readdressed(
                fields,
                head.sources,
                host=head.host,
                secure=client.secure,
                origin=b"%b://%b" % (origin.scheme.encode("ascii"), origin.host_field),
                path_prefix=origin.path_prefix,
            )
        parts += (b" HTTP/1.1\r\nHost: ", origin.host_field, b"\r\n", fields, addressed_lines(client, head))
        if self._passes:
            parts += passed_lines(head, self._passes, self._token)
        parts.append(self._via[head.minor])
        return b"".join(parts)


_check: type[HeaderPolicy[Exchange]] = ClientRequestHeaders

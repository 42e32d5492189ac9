"""The client: a local proxy through which any SDK calls a Vast.ai endpoint."""

from vespa.client.embedded import VastClient
from vespa.client.embedded_session import SessionError, VastSession

__all__ = ["SessionError", "VastClient", "VastSession"]

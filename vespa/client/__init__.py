"""The client: a local proxy through which any SDK calls a Vast.ai endpoint."""

from vespa.client.embedded import VastClient

__all__ = ["VastClient"]

"""Tells twistd about `vespa` and `vespa-client`.

No `__init__.py` may stand here or one folder up: these folders extend Twisted's own.
"""

from twisted.application.reactors import Reactor
from twisted.application.service import ServiceMaker

lean = Reactor("vespa", "vespa.transport.reactor", "epoll with less work per event (Linux)")

worker = ServiceMaker("Vespa worker", "vespa.tap", "A worker for Vast.ai: signed requests in, backend behind.", "vespa")

client = ServiceMaker(
    "Vespa client", "vespa.client_tap", "A local proxy to an endpoint of Vast.ai, for any HTTP client.", "vespa-client"
)

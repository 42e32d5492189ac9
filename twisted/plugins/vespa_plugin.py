"""Tells twistd about `vespa`. No `__init__.py` may stand here or one folder up: these folders extend Twisted's own."""

from twisted.application.reactors import Reactor
from twisted.application.service import ServiceMaker

lean = Reactor("vespa", "vespa.http.reactor", "epoll with less work per event (Linux)")

worker = ServiceMaker("Vespa worker", "vespa.tap", "A worker for Vast.ai: signed requests in, backend behind.", "vespa")

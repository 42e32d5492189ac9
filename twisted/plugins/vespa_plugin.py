"""Tells twistd about `vespa`. No `__init__.py` may stand here or one folder up: these folders extend Twisted's own."""

from twisted.application.service import ServiceMaker

worker = ServiceMaker("Vespa worker", "vespa.tap", "A worker for Vast.ai: signed requests in, backend behind.", "vespa")

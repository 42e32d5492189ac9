"""Tells twistd about `vespa`. Neither this folder nor its parent may hold an `__init__.py`: they extend Twisted's own."""

from twisted.application.service import ServiceMaker

worker = ServiceMaker("Vespa worker", "vespa.tap", "A worker for Vast.ai: signed requests in, a backend behind.", "vespa")

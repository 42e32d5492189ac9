"""Tells twistd about `vespa`. This folder and its parent must never hold an `__init__.py`: they extend Twisted's own."""

from twisted.application.service import ServiceMaker

worker = ServiceMaker("Vespa worker", "vespa.tap", "The Vast.ai worker: signed requests in, your backend behind.", "vespa")

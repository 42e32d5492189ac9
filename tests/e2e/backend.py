"""
Serve the simulator's backend in a process that can be killed. Arguments: tokens a second, and maybe its port.

Prints `listening PORT`.
"""

import sys

from twisted.internet import reactor
from twisted.internet.defer import ensureDeferred
from twisted.internet.endpoints import TCP4ServerEndpoint

from tests.simulator_support.backend import ControlledBackend
from vespa.simulator.serving import serve


async def main() -> None:
    backend = ControlledBackend(reactor, tokens_per_second=float(sys.argv[1]))
    endpoint = TCP4ServerEndpoint(reactor, int(sys.argv[2]) if sys.argv[2:] else 0, interface="127.0.0.1")
    served = await serve(backend.resource(), endpoint, backend.upgrades)
    print("listening", served.url.rpartition(":")[2], flush=True)


ensureDeferred(main())
reactor.run()

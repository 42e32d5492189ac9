"""The first line of the client's log."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from vespa.client.command.start_line import start_line
from vespa.config.client import ClientSettings


class StartLineTests(SynchronousTestCase):
    def test_parts(self) -> None:
        """The line names the endpoint, and says of each part that an option turns on whether it is on."""
        line = start_line(ClientSettings(endpoint="chat"), None)
        self.assertIn(": endpoint chat, autoscaler https://run.vast.ai; ", line)
        self.assertIn("jobs off, first token off, stream errors off, ", line)
        settings = ClientSettings(endpoint="chat", jobs="comfyui", first_token_timeout=2.5, stream_errors=True)
        self.assertIn("jobs comfyui, first token within 2.5 s, stream errors on, ", start_line(settings, None))

    def test_debug_worker(self) -> None:
        """Where all requests go to one worker, the line says so, and that nothing is signed."""
        line = start_line(ClientSettings(debug_worker_url="http://localhost:3000"), None)
        self.assertIn("worker http://localhost:3000 (VAST_DEBUG_WORKER_URL), no autoscaler, no signatures; ", line)

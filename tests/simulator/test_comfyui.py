"""The stand-in answers as ComfyUI's server does."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint, connectProtocol
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import SynchronousTestCase, TestCase
from wsproto.connection import Connection, ConnectionType
from wsproto.events import TextMessage

from tests.simulator_support.comfyui import ComfyUIBackend
from tests.simulator_support.wire import Wire
from vespa.simulator.comfyui import PICTURE, SimulatedComfyUI
from vespa.simulator.comfyui_workflow import workflow
from vespa.simulator.serving import serve


class Routes(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.backend = ComfyUIBackend(self, self.clock)
        self.caller = self.backend.caller

    def get(self, path: str) -> Any:
        return self.caller.ask("GET", path).json

    def test_prompt(self) -> None:
        """A job is queued at once, found in the queue, and in the history when it is done, with its picture."""
        response = self.backend.queue(number=4, client_id="me")
        self.assertEqual(response.status, 200)
        self.assertEqual((response.json["number"], response.json["node_errors"]), (4.0, {}))
        name = response.json["prompt_id"]
        self.clock.advance(0)
        other = self.backend.begin(4)
        queue = self.get("/queue")
        self.assertEqual([each[1] for each in queue["queue_running"]], [name])
        self.assertEqual([each[1] for each in queue["queue_pending"]], [other])
        self.assertEqual(queue["queue_running"][0][3], {"client_id": "me"})
        self.assertEqual(self.get("/prompt"), {"exec_info": {"queue_remaining": 2}})
        self.assertEqual(self.get(f"/history/{name}"), {})
        self.clock.pump([1.0] * 8)
        self.assertEqual(self.get(f"/api/history/{name}")[name]["status"]["status_str"], "success")
        self.assertEqual(list(self.get("/history")), [name])
        picture = self.caller.ask("GET", f"/view?filename={name}.png")
        self.assertEqual((picture.status, picture.body, picture.content_type), (200, PICTURE, "image/png"))
        self.assertEqual(self.caller.ask("GET", "/view?filename=other.png").status, 404)

    def test_wrong_prompt(self) -> None:
        """400 with the errors of the nodes; nothing is queued."""
        for value, kind in (
            ({}, "no_prompt"),
            ({"prompt": {}}, "prompt_no_outputs"),
            ({"prompt": {"9": {"class_type": "SaveImage", "inputs": {}}}}, "prompt_outputs_failed_validation"),
        ):
            response = self.caller.post_json("/prompt", value)
            self.assertEqual((response.status, response.json["error"]["type"]), (400, kind))
        self.assertEqual(response.json["node_errors"]["9"]["class_type"], "SaveImage")
        self.assertEqual(self.backend.comfyui.queue.remaining, 0)

    def test_own_id(self) -> None:
        """A caller may name its job."""
        self.assertEqual(self.backend.begin(prompt_id="mine"), "mine")

    def test_interrupt(self) -> None:
        """The id of another job interrupts nothing, except in old versions, which know no ids."""
        queue = self.backend.comfyui.queue
        self.backend.begin()
        self.clock.advance(0)
        self.caller.post_json("/interrupt", {"prompt_id": "other"})
        self.assertEqual(queue.interrupts, 0)
        self.assertEqual(self.get("/system_stats")["system"]["comfyui_version"], "0.3.75")
        self.backend.comfyui.version = "0.3.40"
        self.caller.post_json("/interrupt", {"prompt_id": "other"})
        self.assertEqual(queue.interrupts, 1)

    def test_changes(self) -> None:
        """The queue and the history can be cleared, and single jobs deleted."""
        queue = self.backend.comfyui.queue
        first, second, third = (self.backend.begin(steps) for steps in (1, 2, 3))
        self.clock.advance(0)
        self.caller.post_json("/queue", {"delete": [second]})
        self.assertEqual([each.prompt_id for each in queue.waiting], [third])
        self.caller.post_json("/queue", {"clear": True})
        self.assertEqual(queue.waiting, [])
        self.clock.pump([1.0] * 8)
        self.caller.post_json("/history", {"delete": ["other"]})
        self.assertEqual(list(queue.history), [first])
        self.caller.post_json("/history", {"delete": [first]})
        self.assertEqual(queue.history, {})


class Sockets(TestCase):
    timeout = 20

    async def test_messages(self) -> None:
        """A client gets the status when it connects, and then the messages of the jobs that name it."""
        comfyui = SimulatedComfyUI(reactor, step_seconds=0.001)
        served = await serve(
            comfyui.resource(), TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1"), comfyui.upgrades
        )
        self.addCleanup(lambda: Deferred.fromCoroutine(served.stop()))
        self.addCleanup(comfyui.queue.stop)
        wire: Wire = await connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", served.port), Wire())
        wire.transport.write(
            b"GET /ws?clientId=me HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        while b"\r\n\r\n" not in wire.received:
            await deferLater(reactor, 0.005)
        body = json.dumps({"prompt": workflow(2), "client_id": "me"}).encode()
        other: Wire = await connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", served.port), Wire())
        other.transport.write(b"POST /prompt HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        while b'"node": null' not in wire.received:
            await deferLater(reactor, 0.005)
        other.transport.loseConnection()
        wire.transport.loseConnection()
        await wire.lost
        client = Connection(ConnectionType.CLIENT)
        client.receive_data(bytes(wire.received.partition(b"\r\n\r\n")[2]))
        texts = [json.loads(event.data) for event in client.events() if isinstance(event, TextMessage)]
        self.assertEqual(texts[0], {"type": "status", "data": {"status": comfyui.queue.info(), "sid": "me"}})
        kinds = [text["type"] for text in texts]
        self.assertEqual(kinds[-4:], ["executed", "execution_success", "status", "executing"])
        self.assertIn("progress", kinds)
        while comfyui.sockets:
            await deferLater(reactor, 0.005)

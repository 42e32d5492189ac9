"""Sessions of Vast's own client, through the simulated autoscaler and the worker, to the simulator's backend."""

from __future__ import annotations

from typing import Any

from tests.e2e.clients import ServiceCase, need
from tests.simulator_support.deployment import ControlledDeployment
from vespa.simulator.launch import free_port

CHAT = "/v1/chat/completions"
MESSAGES = [{"role": "user", "content": "Say anything."}]
ASK = {"messages": MESSAGES, "max_tokens": 8}


class OfficialSessionTests(ServiceCase):
    slow = True

    def setUp(self) -> None:
        need("vastai")

    async def send(self, deployment: ControlledDeployment, *sessions: dict[str, Any]) -> list[dict[str, Any]]:
        """The results of sessions, which the autoscaler's totals then know as such."""
        autoscaler = deployment.autoscaler
        job = {
            "console": deployment.autoscaler_url,
            "autoscaler": deployment.autoscaler_url,
            "root": deployment.autoscaler_url + "/static/jvastai_root.cer",
            "account_key": autoscaler.account_key,
            "endpoint": autoscaler.endpoint,
            "requests": list(sessions),
        }
        results = await self.run_script("official_sessions.py", job)
        autoscaler.totals.sessions.update(each["request_idx"] for each in results)
        return results

    async def test_whole_life(self) -> None:
        """Open, ask, ask streamed, look at it, close: over TLS, with each form of signatures; and the totals add up."""
        deployment = await self.start_service(tls=True)
        for signs in ("url", "full"):
            deployment.autoscaler.signs = signs
            closing = {"on_close_route": "/session-ended", "on_close_payload": {"job": signs}}
            steps: list[Any] = [
                ("request", (CHAT, ASK)),
                ("stream", (CHAT, {**ASK, "stream": True})),
                ("is_open", None),
                ("get", None),
                ("other", {"reqnum": 1_000_000}),
                ("close", None),
                ("request", (CHAT, ASK)),
                ("is_open", None),
            ]
            (result,) = await self.send(deployment, {"cost": 20, "lifetime": 60, **closing, "steps": steps})
            plain, streamed, is_open, found, other, closed, late, gone = result["steps"]
            self.assertEqual(plain["response"]["usage"]["completion_tokens"], 8, plain)
            self.assertGreater(len(streamed["events"]), 2)
            self.assertEqual((is_open, found["lifetime"], found["same"]), (True, 60.0, True))
            self.assertEqual(found["expiration"], result["expiration"] + 120.0, "two requests of 60 s each")
            self.assertIn("bad_session_auth", other["error"])
            self.assertEqual((closed, result["open"]), (None, False))
            self.assertIn("closed session", late["error"])
            self.assertIn("invalid_session", gone["error"])
            self.assertEqual(
                deployment.backend.sessions_ended.pop(), {"job": signs, "session_id": result["session_id"]}
            )
        totals = await self.settled(deployment, 2)
        self.assertEqual(totals["outcomes"], {"Success": 2})
        self.assertEqual((totals["received"], totals["served"], totals["inside"]), (120.0, 120.0, 80.0))
        self.assertEqual((totals["duplicates"], totals["unknown"], totals["unserved"]), ([], [], 0.0))
        assert deployment.worker is not None
        self.assert_clean_log(deployment.worker)

    async def test_expires(self) -> None:
        """A session whose time is over is closed for the client, and the backend hears of it within five seconds."""
        deployment = await self.start_service()
        steps: list[Any] = [("sleep", 1.5), ("request", (CHAT, ASK))]
        wanted = {"lifetime": 1, "on_close_route": "/session-ended", "steps": steps}
        (result,) = await self.send(deployment, wanted)
        self.assertIn("closed session", result["steps"][1]["error"])
        await deployment.until(lambda: deployment.backend.sessions_ended, 10.0, "told of the end")
        self.assertEqual(deployment.backend.sessions_ended, [{"session_id": result["session_id"]}])
        await self.settled(deployment, 1)

    async def test_ended_by_the_backend(self) -> None:
        """A program on the worker's machine ends a session at the plain port of a worker with TLS."""
        port = free_port()
        deployment = await self.start_service(tls=True, WORKER_HTTP_PORT=str(port))
        steps: list[Any] = [("end_by_backend", port), ("request", (CHAT, ASK))]
        (result,) = await self.send(deployment, {"on_close_route": "/session-ended", "steps": steps})
        ended, late = result["steps"]
        self.assertEqual(ended, {"ended": True, "removed_session": result["session_id"]})
        self.assertIn("closed session", late["error"])
        self.assertEqual(len(deployment.backend.sessions_ended), 1)
        await self.settled(deployment, 1)

    async def test_stopped_worker(self) -> None:
        """A worker that is told to stop ends its sessions: the backend hears of them, the autoscaler has their ends."""
        deployment = await self.start_service()
        closing = {"on_close_route": "/session-ended", "cost": 7}
        first, second = await self.send(deployment, {**closing, "steps": []}, {**closing, "steps": []})
        assert deployment.worker is not None
        deployment.worker.signal("TERM")
        self.assertEqual(await self.until_exit(deployment.worker), 0)
        told = [each["session_id"] for each in deployment.backend.sessions_ended]
        self.assertEqual(sorted(told), sorted([first["session_id"], second["session_id"]]))
        (worker_totals,) = deployment.autoscaler.totals.workers.values()
        self.assertEqual(worker_totals.outcomes(), {"Success": 2})
        self.assertEqual((worker_totals.in_flight, worker_totals.served), (0, 14_000_000))

    async def test_taken_port(self) -> None:
        """A plain port that another program has is one line in the log, and not the worker's end."""
        deployment = self.deployment()
        await deployment.start_autoscaler()
        await deployment.start_backend()
        taken = deployment.backend_url.rpartition(":")[2]
        worker = await self.start_worker(deployment, VESPA_HTTP_PORT=taken)
        (result,) = await self.send(deployment, {"steps": [("request", (CHAT, ASK)), ("close", None)]})
        self.assertEqual(result["steps"][0]["status"], 200)
        self.assertEqual(len([line for line in worker.lines if "VESPA_HTTP_PORT" in line]), 1, worker.text)

"""Laws of the commands to try with the demonstration: each can be pasted into a shell, and means what it says."""

from __future__ import annotations

import json
import os
import shlex
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from vespa.simulator.commands import CHAT, QUESTION, SIGNED, by_client, by_hand, with_own_client
from vespa.simulator.signing import body_envelope, query_envelope

WORKER, AUTOSCALER, CLIENT = "http://127.0.0.1:3000", "http://127.0.0.1:3001", "http://127.0.0.1:8010"


def words(command: tuple[str, ...]) -> list[str]:
    """The words that a shell makes of a command."""
    return shlex.split(" ".join(command[1:]))


class CommandsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = self.mktemp() + " with a space"
        os.mkdir(self.folder)
        autoscaler = SimpleNamespace(endpoint="my llm", endpoint_key="endpoint's key", account_key="account-key")
        self.deployment: Any = SimpleNamespace(
            autoscaler=autoscaler,
            autoscaler_url=AUTOSCALER,
            folder=self.folder,
            workers=[SimpleNamespace(url="http://127.0.0.1:1"), SimpleNamespace(url=WORKER)],
        )

    def test_by_client(self) -> None:
        """A stream by curl, and the same question by the openai package, both to the client."""
        stream, python = by_client(CLIENT)
        curl, no_buffer, url, *rest = words(stream)
        self.assertEqual((curl, no_buffer, url), ("curl", "-N", CLIENT + CHAT))
        body = json.loads(rest[rest.index("-d") + 1])
        self.assertEqual((body["stream"], body["messages"][0]["role"]), (True, "user"))
        program, option, code = words(python)
        self.assertEqual((program, option), (sys.executable, "-c"))
        compile(code, "command", "exec")
        self.assertIn(f'base_url="{CLIENT}/v1"', code)

    def test_own_client(self) -> None:
        """What is exported are the keys and addresses of this demonstration, whatever characters they have."""
        export, *others = with_own_client(self.deployment)
        first, *variables = words(export)
        self.assertEqual(first, "export")
        self.assertEqual(
            dict(each.split("=", 1) for each in variables),
            {
                "VAST_ENDPOINT": "my llm",
                "VAST_API_KEY": "endpoint's key",
                "VAST_ACCOUNT_KEY": "account-key",
                "VAST_AUTOSCALER_URL": AUTOSCALER,
                "VAST_CONSOLE_URL": AUTOSCALER,
            },
        )
        self.assertEqual([" ".join(words(each)[-2:]) for each in others], ["client --list", "--port 0", "--rps 2"])
        self.assertIn("my llm", words(others[-1]))

    def test_program(self) -> None:
        """The program is this environment's: by its name only if a shell finds the same file by it."""
        folder = Path(self.mktemp())
        folder.mkdir()
        python, ours = folder / "python", folder / "vespa-proxy"
        self.patch(sys, "executable", str(python))
        self.patch(os, "environ", {"PATH": ""})
        self.assertEqual(words(with_own_client(self.deployment)[1])[:3], [str(python), "-m", "vespa.cli"])
        ours.touch(0o755)
        self.assertEqual(words(with_own_client(self.deployment)[1])[0], str(ours))
        self.patch(os, "environ", {"PATH": str(folder.resolve())})
        self.assertEqual(words(with_own_client(self.deployment)[1])[0], "vespa-proxy")

    def test_by_hand(self) -> None:
        """Each signed command has an assignment of its own, in a file, and goes to the newest worker."""
        assignments: list[dict[str, Any]] = [
            {
                "request_idx": number,
                "signature": "s",
                "cost": 1.0,
                "endpoint": "e",
                "reqnum": number,
                "url": WORKER,
            }
            for number in range(1, SIGNED + 1)
        ]
        commands = by_hand(self.deployment, assignments)
        stream, plain, query, unsigned, ledger = map(words, commands)

        def content(command: list[str]) -> bytes:
            return Path(command[command.index("-d") + 1].removeprefix("@")).read_bytes()

        self.assertEqual(content(stream), body_envelope(assignments[0], {**QUESTION, "stream": True}))
        self.assertEqual(content(plain), body_envelope(assignments[1], QUESTION))
        self.assertEqual(content(query).decode(), query_envelope(assignments[2]))
        self.assertEqual([WORKER + CHAT in each for each in (stream, plain)], [True, True])
        self.assertEqual([f"{WORKER}/v1/models" in each for each in (query, unsigned)], [True, True])
        self.assertEqual(ledger[-1], f"{AUTOSCALER}/ledger")
        for number, command in enumerate(commands[:SIGNED], 1):
            self.assertIn(f"request {number}", command[0])

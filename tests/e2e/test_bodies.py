"""What is no JSON, through client and worker with TLS between the two: uploads by curl, a WebSocket."""

from __future__ import annotations

import hashlib
import json
import os
from random import Random
from shutil import which

from twisted.trial.unittest import SkipTest

from tests.e2e.callers import CallerCase
from tests.e2e.clients import need
from vespa.simulator.child import ClientChild

SIZES = (0, 1000, 3_000_001)


class UploadTests(CallerCase):
    async def upload(self, client: ClientChild, path: str, *options: str) -> dict[str, object]:
        fields = ["-F", "model=whisper", "-F", f"file=@{path};type=audio/wav"]
        url = client.url + "/v1/audio/transcriptions"
        curl = self.start(["curl", "-sS", "--fail-with-body", "--noproxy", "*", *options, *fields, url])
        self.assertEqual(await self.until_exit(curl), 0, curl.text)
        response = json.loads(curl.lines[-1])
        self.assertEqual(response["fields"], [["model", "whisper"]])
        (file,) = response["files"]
        return dict(file)

    async def test_multipart(self) -> None:
        """A file that curl uploads arrives as it is, of whatever size, its length announced or not."""
        if which("curl") is None:
            raise SkipTest("missing: curl")
        deployment, client = await self.start_chain()
        folder = self.temporary_folder()
        for size in SIZES:
            sound = Random(size).randbytes(size)
            path = os.path.join(folder, f"sound-{size}.wav")
            with open(path, "wb") as file:
                file.write(sound)
            for options in ((), ("-H", "Transfer-Encoding: chunked"), ("-H", "Expect:")):
                told = await self.upload(client, path, *options)
                self.assertEqual(told["sha256"], hashlib.sha256(sound).hexdigest(), (size, options))
                self.assertEqual((told["filename"], told["content_type"]), (os.path.basename(path), "audio/wav"))
        self.assertEqual(len(await self.balanced(deployment)), 3 * len(SIZES))
        self.assert_clean(deployment)


class WebSocketTests(CallerCase):
    async def test_echo(self) -> None:
        """Messages of every size, texts and bytes, come back through both proxies as they were sent."""
        need("websockets")
        deployment, client = await self.start_chain()
        asked = {"path": "/ws", "sizes": [0, 1, 125, 126, 65_535, 65_536, 300_000], "pings": 3}
        (result,) = await self.results(self.call("websocket_sdk.py", [client.url], asked))
        self.assertEqual(result, {"same": 14, "close_code": 1000}, client.text)
        self.assertEqual(len(await self.balanced(deployment)), 1)
        self.assert_clean(deployment)

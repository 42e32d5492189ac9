"""The pictures of the status page in the documentation: made again where VESPA_PICTURES is set, and held to limits."""

from __future__ import annotations

import os
import struct
from typing import Final

from twisted.trial.unittest import SynchronousTestCase

from tests.observability.browser import BrowserCase
from tests.observability.example import Example, ExampleServer
from tests.observability.test_page import LIVE
from vespa.simulator.launch import ROOT

FOLDER = os.path.join(ROOT, "docs", "images")
BYTES_MAX = 200_000
PICTURES: Final = {
    "status-worker.png": ("worker", 1280, 1190, False),
    "status-worker-phone.png": ("worker", 390, 844, True),
    "status-client.png": ("client", 1280, 960, False),
}
"""For each file whose page it shows, the size of the window, and whether it is a phone that wants dark colours."""


class PictureTests(SynchronousTestCase):
    def test_files(self) -> None:
        """Each picture is there, has its size, and is small enough for a repository."""
        for name, (_, width, height, _) in PICTURES.items():
            path = os.path.join(FOLDER, name)
            self.assertLess(os.path.getsize(path), BYTES_MAX, name)
            with open(path, "rb") as file:
                head = file.read(24)
            self.assertEqual(struct.unpack(">II", head[16:24]), (width, height), name)


class TakingTests(BrowserCase):
    async def test_taken(self) -> None:
        """Pictures can be taken of each page; they are kept in docs/images if VESPA_PICTURES is set."""
        folder = FOLDER if os.environ.get("VESPA_PICTURES") else self.temporary_folder()
        os.makedirs(folder, exist_ok=True)
        browser = await self.browser()
        for name, (kind, width, height, is_phone) in PICTURES.items():
            server = ExampleServer(Example(kind))
            self.addCleanup(server.stop)
            await browser.look(width, height, dark=is_phone, touch=is_phone)
            await browser.open(await server.start())
            await browser.until(LIVE)
            path = os.path.join(folder, name)
            await browser.picture(path)
            self.assertLess(os.path.getsize(path), BYTES_MAX, name)

"""A WebSocket to the backend, for as long as both want it. pip install websockets"""

import asyncio
import os

import websockets

URL = os.environ.get("VESPA_URL", "http://localhost:8010").replace("http", "ws", 1)
PATH = os.environ.get("WEBSOCKET_PATH", "/ws")
TOKEN = os.environ.get("VESPA_CLIENT_TOKEN", "unused")


async def main() -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with websockets.connect(f"{URL}{PATH}", additional_headers=headers, proxy=None, open_timeout=600) as socket:
        await socket.send("hello")
        print(await socket.recv())


asyncio.run(main())

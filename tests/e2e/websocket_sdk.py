"""Run by the end-to-end Python: a WebSocket by the `websockets` package. See job.py.

A request is {path, sizes, pings}: messages of so many characters and bytes are sent and must come back as they are.
"""

import job
from websockets.sync.client import connect


def send(url, wanted):
    """Send the messages and say what came back."""
    with connect(url.replace("http", "ws", 1) + wanted["path"], max_size=None, proxy=None, open_timeout=60) as socket:
        same = 0
        for size in wanted["sizes"]:
            for message in ("ä" * size, bytes(range(256)) * (size // 256) + b"!" * (size % 256)):
                socket.send(message)
                same += socket.recv(timeout=30) == message
        for _ in range(wanted.get("pings", 0)):
            socket.ping().wait(30)
        socket.close()
        return {"same": same, "close_code": socket.close_code}


if __name__ == "__main__":
    job.run(send)

"""Run by the end-to-end Python: send requests by Vast's own client. The job comes as JSON on standard input.

{console, autoscaler, root, account_key, endpoint, requests: [{route, payload, cost, stream, leave_after}]}
Prints one JSON result a line. A request with `leave_after` reads so many events of its stream and hangs up.
"""

import asyncio
import json

from job import read
from vastai.serverless.client.client import CoroutineServerless


async def send(endpoint, wanted):
    """Send one request, read its response, and say what came."""
    stream = wanted.get("stream", False)
    result = await endpoint.request(
        wanted["route"], wanted["payload"], cost=wanted.get("cost", 100), stream=stream, retry=False, timeout=30
    )
    said = {"ok": result["ok"], "status": result["status"], "request_idx": result["request_idx"]}
    if not (stream and result["ok"]):
        return {**said, "response": result["response"]}
    events = []
    async for event in result["response"]:
        events.append(event)
        if len(events) == wanted.get("leave_after"):
            await result["response"].aclose()
            break
    return {**said, "events": events}


async def main():
    """Send the job's requests one after another."""
    job = read()

    class Client(CoroutineServerless):
        SSL_CERT_URL = job["root"]

    options = {"autoscaler_url": job["autoscaler"], "webserver_url": job["console"]}
    async with Client(job["account_key"], **options) as client:
        endpoint = await client.get_endpoint(job["endpoint"])
        for wanted in job["requests"]:
            print(json.dumps(await send(endpoint, wanted)), flush=True)


if __name__ == "__main__":
    asyncio.run(main())

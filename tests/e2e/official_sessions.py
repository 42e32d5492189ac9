"""Run by the end-to-end Python: use sessions by Vast's own client. The job comes as JSON on standard input.

{console, autoscaler, root, account_key, endpoint, requests: [{cost, lifetime, on_close_route, on_close_payload,
steps: [[name, argument]...]}]}
Prints one JSON result a session: what each step came to. The steps are `request` (route, payload), `stream` (route,
payload), `is_open`, `get`, `other` (changes of the auth_data), `sleep` (seconds), `end_by_backend` (plain port) and
`close`.
"""

import asyncio
import json
import urllib.request

from job import read
from vastai.serverless.client.client import CoroutineServerless


def end_plainly(port, session):
    """End a session as the backend does: at the plain port, with the standard library."""
    body = json.dumps({"session_id": session.session_id, "session_auth": session.auth_data}).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}/session/end", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as response:
        return json.load(response)


async def step(endpoint, session, name, argument):
    """One step, and what came of it; an exception as its text."""
    try:
        if name == "request":
            result = await session.request(*argument, cost=1, retry=False)
            return {"status": result["status"], "response": result["response"]}
        if name == "stream":
            result = await session.request(*argument, cost=1, retry=False, stream=True)
            return {"status": result["status"], "events": [event async for event in result["response"]]}
        if name == "is_open":
            return await session.is_open()
        if name == "get":
            found = await endpoint.get_session(session.session_id, session.auth_data)
            return {
                "lifetime": found.lifetime,
                "expiration": found.expiration,
                "same": found.auth_data == session.auth_data,
            }
        if name == "other":
            return (await endpoint.get_session(session.session_id, {**session.auth_data, **argument})).session_id
        if name == "sleep":
            return await asyncio.sleep(argument)
        if name == "end_by_backend":
            return await asyncio.to_thread(end_plainly, argument, session)
        return await session.close()
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}


async def main():
    """Open the job's sessions one after another, and take their steps."""
    job = read()

    class Client(CoroutineServerless):
        SSL_CERT_URL = job["root"]

    options = {"autoscaler_url": job["autoscaler"], "webserver_url": job["console"]}
    async with Client(job["account_key"], **options) as client:
        endpoint = await client.get_endpoint(job["endpoint"])
        for wanted in job["requests"]:
            steps = wanted.pop("steps")
            session = await endpoint.session(**wanted)
            said = [await step(endpoint, session, *each) for each in steps]
            result = {"session_id": session.session_id, "expiration": session.expiration, "open": session.open}
            print(json.dumps({**result, "request_idx": session.auth_data["request_idx"], "steps": said}), flush=True)


if __name__ == "__main__":
    asyncio.run(main())

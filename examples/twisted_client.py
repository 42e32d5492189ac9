"""The client within a Twisted program, on its reactor, with treq."""

import os

import treq
from twisted.internet.task import react

from vespa.client import VastClient

MODEL = os.environ.get("MODEL_NAME", "vespa-demo")


async def main(reactor) -> None:
    client = VastClient(
        endpoint_name=os.environ["VAST_ENDPOINT"],
        api_key=os.environ.get("VAST_API_KEY", ""),
        account_key=os.environ.get("VAST_ACCOUNT_KEY", ""),
        autoscaler_url=os.environ.get("VAST_AUTOSCALER_URL", ""),
        console_url=os.environ.get("VAST_CONSOLE_URL", "https://console.vast.ai"),
        reactor=reactor,
        on_wait=lambda status, seconds: print(f"waiting, {seconds:.0f} s: {status}") if status else None,
    )
    async with client:
        question = {"model": MODEL, "messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 20}
        response = await treq.post(f"{client.url}/v1/chat/completions", json=question, persistent=False)
        if response.code != 200:
            raise SystemExit(await response.text())
        answer = await treq.json_content(response)
        print(answer["choices"][0]["message"]["content"])


react(main)

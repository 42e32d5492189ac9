// A chat, whole and as a stream, with nothing but Node (18 or newer): node fetch.mjs
// In Node, not in a web page: the proxy refuses browsers.
const url = process.env.VESPA_URL ?? "http://localhost:8010";
const model = process.env.MODEL_NAME ?? "vespa-demo";
const headers = {
  "Content-Type": "application/json",
  Authorization: `Bearer ${process.env.VESPA_CLIENT_TOKEN ?? "unused"}`,
};

async function chat(content, more = {}) {
  const body = JSON.stringify({ model, messages: [{ role: "user", content }], max_tokens: 50, ...more });
  // A worker may first have to be started. Node's own limit until an answer begins is 300 s.
  const reply = await fetch(`${url}/v1/chat/completions`, { method: "POST", headers, body });
  if (!reply.ok) throw new Error(`${reply.status} ${await reply.text()}`);
  return reply;
}

const answer = await (await chat("Say hello.")).json();
console.log(answer.choices[0].message.content);

let rest = "";
for await (const text of (await chat("Count to ten.", { stream: true })).body.pipeThrough(new TextDecoderStream())) {
  const lines = (rest + text).split("\n");
  rest = lines.pop();
  for (const line of lines) {
    if (line.startsWith("data: {")) process.stdout.write(JSON.parse(line.slice(6)).choices[0]?.delta.content ?? "");
  }
}
console.log();

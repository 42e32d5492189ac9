// The same with OpenAI's library: npm install openai && node openai.mjs
import OpenAI from "openai";

const model = process.env.MODEL_NAME ?? "vespa-demo";
const client = new OpenAI({
  baseURL: `${process.env.VESPA_URL ?? "http://localhost:8010"}/v1`,
  apiKey: process.env.VESPA_CLIENT_TOKEN ?? "unused",
  timeout: 600_000,
  maxRetries: 0,
});

const answer = await client.chat.completions.create({
  model,
  messages: [{ role: "user", content: "Say hello." }],
  max_tokens: 50,
});
console.log(answer.choices[0].message.content);

const stream = await client.chat.completions.create({
  model,
  messages: [{ role: "user", content: "Count to ten." }],
  max_tokens: 50,
  stream: true,
});
for await (const chunk of stream) process.stdout.write(chunk.choices[0]?.delta.content ?? "");
console.log();

// OpenAI's own client for Node against BASE with KEY: each line of the output is one thing that works.
import OpenAI, { toFile } from "openai";

const [base, key, model] = process.argv.slice(2);
const client = new OpenAI({ baseURL: base, apiKey: key, maxRetries: 0, timeout: 20_000 });
const messages = [{ role: "user", content: "ping" }];
const parameters = { type: "object", properties: { a: { type: "integer" } }, required: ["a"] };
const tools = [{ type: "function", function: { name: "add", parameters } }];
const format = { type: "json_schema", json_schema: { name: "n", schema: parameters, strict: true } };

async function works(name, act) {
  try {
    console.log(`ok ${name}: ${JSON.stringify(await act())}`);
  } catch (error) {
    console.log(`FAILED ${name}: ${error.constructor.name} ${error.message}`);
  }
}

function must(value) {
  if (!value) throw new Error("nothing came");
  return value;
}

await works("models", async () => must((await client.models.list()).data[0]).id);
await works("chat", async () => {
  const said = await client.chat.completions.create({ model, messages });
  return must(said.choices[0].message.content);
});
await works("stream", async () => {
  const options = { model, messages, stream: true, stream_options: { include_usage: true } };
  let text = "", usage;
  for await (const chunk of await client.chat.completions.create(options)) {
    text += chunk.choices[0]?.delta?.content ?? "";
    usage = chunk.usage ?? usage;
  }
  return [must(text), must(usage).total_tokens];
});
await works("stream helper", async () => {
  const stream = client.chat.completions.stream({ model, messages });
  return must(await stream.finalContent());
});
await works("tools", async () => {
  const said = await client.chat.completions.create({ model, messages, tools, tool_choice: "required" });
  return JSON.parse(must(said.choices[0].message.tool_calls)[0].function.arguments).a;
});
await works("tool loop", async () => {
  const run = (name) => ({ type: "function", function: { ...name, function: ({ a }) => `${a}`, parse: JSON.parse } });
  const runner = client.chat.completions.runTools({ model, messages, tools: [run(tools[0].function)] });
  return must(await runner.finalContent());
});
await works("structured output", async () => {
  const said = await client.chat.completions.create({ model, messages, response_format: format });
  return JSON.parse(said.choices[0].message.content).a;
});
await works("responses", async () => {
  const first = await client.responses.create({ model, input: "My name is Ada." });
  const second = await client.responses.create({
    model, input: "Who am I?", previous_response_id: first.id,
  });
  const found = await client.responses.retrieve(second.id);
  await client.responses.delete(first.id);
  return [must(second.output_text), found.output_text === second.output_text];
});
await works("responses stream", async () => {
  const stream = client.responses.stream({ model, input: "ping" });
  let deltas = 0;
  stream.on("response.output_text.delta", () => { deltas += 1; });
  return [(await stream.finalResponse()).output_text, must(deltas)];
});
await works("agent in the background", async () => {
  let said = await client.responses.create({ model: "agent:default", input: "ping", background: true });
  for (let i = 0; i < 500 && ["queued", "in_progress"].includes(said.status); i += 1) {
    await new Promise((go) => setTimeout(go, 20));
    said = await client.responses.retrieve(said.id);
  }
  return [said.status, must(said.output_text)];
});
await works("files", async () => {
  const file = await toFile(Buffer.from("words"), "words.txt", { type: "text/plain" });
  const made = await client.files.create({ file, purpose: "user_data" });
  const listed = [];
  for await (const one of client.files.list({ limit: 1 })) listed.push(one.id);
  const back = await (await client.files.content(made.id)).text();
  const content = [{ type: "input_text", text: "ping" }, { type: "input_file", file_id: made.id }];
  const said = await client.responses.create({ model, input: [{ role: "user", content }] });
  const gone = await client.files.delete(made.id);
  return [must(listed.includes(made.id)), must(back === "words"), must(said.output_text), must(gone.deleted)];
});
await works("embeddings", async () => must((await client.embeddings.create({ model, input: "a" })).data[0].embedding.length));
await works("errors", async () => {
  const kinds = [];
  for (const [apiKey, name] of [[key, "nobody/none"], ["wrong", model]]) {
    try {
      await new OpenAI({ baseURL: base, apiKey, maxRetries: 0 }).chat.completions.create({ model: name, messages });
    } catch (error) {
      kinds.push([error.constructor.name, error.code]);
    }
  }
  return kinds;
});

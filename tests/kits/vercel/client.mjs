// Vercel's AI SDK against BASE with KEY: each line of the output is one thing that works.
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText, jsonSchema, stepCountIs, streamText, tool } from "ai";

const [base, key, name] = process.argv.slice(2);
const provider = createOpenAICompatible({ name: "house", apiKey: key, baseURL: base });
const model = provider(name);
const number = { type: "integer" };
const inputSchema = jsonSchema({
  type: "object", properties: { a: number, b: number }, required: ["a", "b"],
});

async function works(what, act) {
  try {
    console.log(`ok vercel-ai ${what}: ${await act()}`);
  } catch (error) {
    console.log(`FAILED vercel-ai ${what}: ${error.name} ${error.message}`);
  }
}

function must(value) {
  if (!value) throw new Error("nothing came");
  return value;
}

await works("whole answer", async () => must((await generateText({ model, prompt: "ping", maxRetries: 0 })).text));
await works("stream", async () => {
  let said = "";
  for await (const piece of streamText({ model, prompt: "ping", maxRetries: 0 }).textStream) said += piece;
  return must(said);
});
await works("tool loop", async () => {
  const add = tool({ description: "adds", inputSchema, execute: async ({ a, b }) => a + b });
  const asked = { model, prompt: "add them", tools: { add }, stopWhen: stepCountIs(3), maxRetries: 0 };
  const { steps, text } = await generateText(asked);
  must(steps.length > 1);
  must(steps[0].toolResults[0].output === 2);
  return must(text);
});

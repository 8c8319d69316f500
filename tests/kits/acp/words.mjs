// An editor that can put forms to its person and knows the agent's commands: asks, undoes, deletes.
import { spawn } from "node:child_process";
import { Readable, Writable } from "node:stream";
import * as acp from "@agentclientprotocol/sdk";

const [cwd, program, ...words] = process.argv.slice(2);
const agent = spawn(program, words, { stdio: ["pipe", "pipe", "inherit"] });
const stream = acp.ndJsonStream(Writable.toWeb(agent.stdin), Readable.toWeb(agent.stdout));
const seen = { updates: [], forms: [], said: {} };
let answers = [{ action: "accept", content: { answer: "blue" } }, { action: "decline" }];

const editor = acp
  .client({ name: "kit" })
  .onRequest(acp.methods.client.session.requestPermission, async ({ params }) => ({
    outcome: { outcome: "selected", optionId: params.options[0].optionId },
  }))
  .onRequest(acp.methods.client.elicitation.create, async ({ params }) => {
    seen.forms.push(params);
    return answers.shift();
  })
  .onNotification(acp.methods.client.session.update, ({ params }) => {
    seen.updates.push(params.update);
  });

await editor.connectWith(stream, async (context) => {
  await context.request(acp.methods.agent.initialize, {
    protocolVersion: acp.PROTOCOL_VERSION,
    clientCapabilities: { elicitation: { form: {} } },
  });
  const begun = await context.request(acp.methods.agent.session.new, { cwd, mcpServers: [] });
  const sessionId = begun.sessionId;
  const told = async (text) => {
    const before = seen.updates.length;
    const prompt = [{ type: "text", text }];
    const { stopReason } = await context.request(acp.methods.agent.session.prompt, { sessionId, prompt });
    // The library may hand over what came before an answer a moment after it.
    let words = "", last;
    do {
      last = words;
      await new Promise((resolve) => setTimeout(resolve, 20));
      const chunks = seen.updates.slice(before).filter((one) => one.sessionUpdate === "agent_message_chunk");
      words = chunks.map((one) => one.content.text).join("");
    } while (!words || words !== last);
    seen.said[text] = [stopReason, words];
  };
  for (const text of ["/undo", "paint it", "write a note", "/undo", "/costs", "/tasks", "ask again", "red"])
    await told(text);
  const list = () => context.request(acp.methods.agent.session.list, { cwd });
  seen.before = (await list()).sessions;
  await context.request(acp.methods.agent.session.delete, { sessionId });
  seen.after = (await list()).sessions;
});
console.log(JSON.stringify(seen));
agent.stdin.end();

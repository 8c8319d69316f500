// An editor made with the protocol's JavaScript library: starts the command it is given, holds a
// conversation, and prints what it saw as one line of JSON.
import { spawn } from "node:child_process";
import { Readable, Writable } from "node:stream";
import * as acp from "@agentclientprotocol/sdk";

const [cwd, program, ...words] = process.argv.slice(2);
const agent = spawn(program, words, { stdio: ["pipe", "pipe", "inherit"] });
const stream = acp.ndJsonStream(Writable.toWeb(agent.stdin), Readable.toWeb(agent.stdout));
const seen = { updates: [], asked: [], stops: [] };
let hanging = null;

const editor = acp
  .client({ name: "kit" })
  .onRequest(acp.methods.client.session.requestPermission, async ({ params }) => {
    seen.asked.push(params);
    if (params.toolCall.rawInput?.path === "hang.txt") {
      await new Promise((resolve) => (hanging = resolve));
      return { outcome: { outcome: "cancelled" } };
    }
    return { outcome: { outcome: "selected", optionId: params.options[0].optionId } };
  })
  .onNotification(acp.methods.client.session.update, ({ params }) => {
    seen.updates.push(params.update);
  });

await editor.connectWith(stream, async (context) => {
  seen.hello = await context.request(acp.methods.agent.initialize, {
    protocolVersion: acp.PROTOCOL_VERSION,
    clientCapabilities: {},
  });
  const begun = await context.request(acp.methods.agent.session.new, { cwd, mcpServers: [] });
  const sessionId = begun.sessionId;
  const prompt = (text) =>
    context.request(acp.methods.agent.session.prompt, {
      sessionId,
      prompt: [{ type: "text", text }],
    });
  seen.stops.push((await prompt("write a note")).stopReason);
  const stopped = prompt("hang on");
  while (!hanging) await new Promise((resolve) => setTimeout(resolve, 20));
  await context.notify(acp.methods.agent.session.cancel, { sessionId });
  hanging();
  seen.stops.push((await stopped).stopReason);
  const before = seen.updates.length;
  await context.request(acp.methods.agent.session.load, { sessionId, cwd, mcpServers: [] });
  seen.loaded = seen.updates.slice(before);
  seen.listed = (await context.request(acp.methods.agent.session.list, { cwd })).sessions;
});
console.log(JSON.stringify(seen));
agent.stdin.end();

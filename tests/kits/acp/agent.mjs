// An agent made with the protocol's JavaScript library: asks leave for what a prompt says, and does it.
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Readable, Writable } from "node:stream";
import * as acp from "@agentclientprotocol/sdk";

let folder = "";
const say = (context, sessionId, text) =>
  context.notify(acp.methods.client.session.update, {
    sessionId,
    update: { sessionUpdate: "agent_message_chunk", content: { type: "text", text } },
  });

acp
  .agent({ name: "kit" })
  .onRequest(acp.methods.agent.initialize, ({ params }) => ({
    protocolVersion: params.protocolVersion,
    agentCapabilities: {},
  }))
  .onRequest(acp.methods.agent.session.new, ({ params }) => {
    folder = params.cwd;
    return { sessionId: "one" };
  })
  .onRequest(acp.methods.agent.session.prompt, async ({ params, client }) => {
    const { sessionId, prompt } = params;
    const words = prompt[0].text;
    await say(client, sessionId, `You said: ${words}. `);
    if (words.startsWith("write ")) {
      const name = words.split(" ")[1];
      const toolCall = { toolCallId: "t1", title: `write ${name}`, kind: "edit", status: "pending" };
      await client.notify(acp.methods.client.session.update, {
        sessionId,
        update: { sessionUpdate: "tool_call", ...toolCall },
      });
      const { outcome } = await client.request(acp.methods.client.session.requestPermission, {
        sessionId,
        toolCall,
        options: [
          { optionId: "y", name: "Yes", kind: "allow_once" },
          { optionId: "n", name: "No", kind: "reject_once" },
        ],
      });
      const good = outcome.optionId === "y";
      if (good) await writeFile(join(folder, name), "by the agent\n");
      await say(client, sessionId, good ? "Done." : "I was not allowed to.");
    }
    return { stopReason: "end_turn" };
  })
  .connect(acp.ndJsonStream(Writable.toWeb(process.stdout), Readable.toWeb(process.stdin)));

// A page made with the AG-UI library: runs the agent and holds every event against the protocol's
// own schemas and its `verifyEvents`. Prints what it saw as one line of JSON.
import { readFileSync } from "node:fs";
import { HttpAgent, verifyEvents } from "@ag-ui/client";
import { EventSchemas } from "@ag-ui/core/schemas";
import { from, lastValueFrom, toArray } from "rxjs";

const { url, token, runs } = JSON.parse(readFileSync(0, "utf8"));
const headers = { Authorization: `Bearer ${token}` };
async function* lines(body) {
  let rest = "";
  for await (const piece of body.pipeThrough(new TextDecoderStream())) {
    const found = (rest + piece).split("\n");
    rest = found.pop();
    yield* found;
  }
}
const seen = [];
let answers = [];
for (const { thread, run, say, resume, agent, cancel, tools, gives } of runs) {
  const messages = say ? [{ id: `${run}-m`, role: "user", content: say }] : [];
  for (const [toolCallId, content] of Object.entries(gives ?? {}))
    messages.push({ id: `${toolCallId}-given`, role: "tool", toolCallId, content });
  const input = {
    threadId: thread,
    runId: run,
    messages,
    state: {},
    tools: tools ?? [],
    context: [],
    forwardedProps: {},
    ...(resume
      ? { resume: answers.map((one) => ({ interruptId: one.id, ...resume })) }
      : {}),
  };
  const raw = [];
  const answer = await fetch(`${url}/ag-ui`, {
    method: "POST",
    headers: { ...headers, "Content-Type": "application/json", Accept: "text/event-stream" },
    body: JSON.stringify(input),
  });
  if (!answer.ok) {
    seen.push({ run, status: answer.status, error: (await answer.json()).error?.code });
    continue;
  }
  for await (const line of lines(answer.body)) {
    if (!line.startsWith("data: ")) continue;
    const event = EventSchemas.parse(JSON.parse(line.slice(6)));
    raw.push(event);
    if (cancel && event.type === "STATE_SNAPSHOT") {
      const path = `/api/v1/tasks/${event.snapshot.task}/cancel`;
      await fetch(url + path, { method: "POST", headers, body: "{}" });
    }
  }
  const verified = await lastValueFrom(from(raw).pipe(verifyEvents(false), toArray()));
  const last = verified.at(-1);
  answers = last.outcome?.interrupts ?? answers;
  const told = { run, types: verified.map((one) => one.type), last };
  if (agent) {
    const page = new HttpAgent({ url: `${url}/ag-ui`, headers, threadId: `${thread}-page` });
    page.messages = messages;
    const result = await page.runAgent({ runId: `${run}-page`, tools });
    told.page = result.newMessages.map((one) => ({ role: one.role, content: one.content }));
    // As a page does it: each call is answered beside what was said, and the agent runs on.
    const calls = page.messages.flatMap((one) => one.toolCalls ?? []);
    if (tools && calls.length) {
      for (const { id, function: made } of calls)
        page.addMessage({ id: `${id}-given`, role: "tool", toolCallId: id, content: made.arguments });
      const more = await page.runAgent({ runId: `${run}-page-2`, tools });
      told.page.push(...more.newMessages.map((one) => ({ role: one.role, content: one.content })));
      told.called = calls.map((one) => one.function.name);
    }
  }
  seen.push(told);
}
console.log(JSON.stringify(seen));

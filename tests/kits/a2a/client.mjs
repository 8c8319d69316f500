// A client made with the protocol's JavaScript library: talks with the daemon it is given, over one
// form of the protocol, and prints what it saw as one line of JSON.
import { readFileSync } from "node:fs";
import {
  ClientFactory,
  ClientFactoryOptions,
  JsonRpcTransportFactory,
  RestTransportFactory,
} from "@a2a-js/sdk/client";
import { Role, TaskState } from "@a2a-js/sdk";

const { url, token, form, hook } = JSON.parse(readFileSync(0, "utf8"));
const as = (given) => (address, init = {}) => {
  const headers = new Headers(init.headers);
  headers.set("Authorization", `Bearer ${given}`);
  return fetch(address, { ...init, headers });
};
const connect = (given) => {
  const fetchImpl = as(given);
  const transport =
    form === "JSONRPC"
      ? new JsonRpcTransportFactory({ fetchImpl })
      : new RestTransportFactory({ fetchImpl });
  const options = { ...ClientFactoryOptions.default, transports: [transport] };
  return new ClientFactory(options).createFromUrl(url);
};
let number = 0;
const asked = (text, { parts = [], taskId = "", ...configuration } = {}) => ({
  tenant: "",
  message: {
    messageId: `js-${form}-${process.pid}-${number++}`,
    contextId: "",
    taskId,
    role: Role.ROLE_USER,
    parts: [{ content: { $case: "text", value: text }, filename: "", mediaType: "" }, ...parts],
    metadata: undefined,
    extensions: [],
    referenceTaskIds: [],
  },
  configuration: {
    acceptedOutputModes: [],
    taskPushNotificationConfig: undefined,
    returnImmediately: false,
    ...configuration,
  },
  metadata: undefined,
});
const state = (task) => TaskState[task.status.state];
const seen = {};
const client = await connect(token);

const first = await client.sendMessage(asked("hello"));
seen.sent = [state(first), first.artifacts[0].parts[0].content.value];
const again = await client.getTask({ tenant: "", id: first.id });
seen.got = again.id === first.id && state(again);

seen.stream = [];
for await (const told of client.sendMessageStream(asked("hello"))) {
  seen.stream.push(told.payload.$case);
  if (told.payload.$case === "statusUpdate") seen.streamed = state(told.payload.value);
}

const held = await client.sendMessage(asked("hold", { returnImmediately: true }));
const gone = await client.cancelTask({ tenant: "", id: held.id, metadata: undefined });
seen.cancelled = state(gone);
try {
  await client.cancelTask({ tenant: "", id: held.id, metadata: undefined });
} catch (error) {
  seen.twice = error.name;
}

const cut = new AbortController();
let back = "";
try {
  for await (const told of client.sendMessageStream(asked("ask me"), { signal: cut.signal })) {
    if (told.payload.$case === "task") {
      back = told.payload.value.id;
      cut.abort();
    }
  }
} catch {
  seen.cut = true;
}
let waits = await client.getTask({ tenant: "", id: back });
while (state(waits) !== "TASK_STATE_INPUT_REQUIRED") {
  await new Promise((resolve) => setTimeout(resolve, 20));
  waits = await client.getTask({ tenant: "", id: back });
}
seen.back = [];
for await (const told of client.resubscribeTask({ tenant: "", id: back })) {
  seen.back.push(told.payload.$case);
  if (seen.back.length === 1) {
    await client.sendMessage(asked("red", { taskId: back, returnImmediately: true }));
  }
  if (told.payload.$case === "statusUpdate") seen.backed = state(told.payload.value);
}

const file = {
  content: { $case: "raw", value: Buffer.from("from js") },
  filename: "js.txt",
  mediaType: "text/plain",
};
const filed = await client.sendMessage(asked("make a file", { parts: [file] }));
const made = filed.artifacts[1].parts[0];
seen.file = [made.filename, Buffer.from(made.content.value).toString()];
seen.kept = Buffer.from(filed.history[0].parts[1].content.value).toString();

const push = {
  tenant: "",
  id: "js",
  taskId: "",
  url: `${hook}/js`,
  token: "js-token-to-know",
  authentication: { scheme: "Bearer", credentials: "js-credentials" },
};
const told = await client.sendMessage(asked("hello", { taskPushNotificationConfig: push }));
const kept = await client.getTaskPushNotificationConfig({ tenant: "", taskId: told.id, id: "js" });
seen.push = [told.id, kept.url === push.url];

try {
  await (await connect("wrong")).sendMessage(asked("hello"));
} catch (error) {
  seen.denied = String(error.message);
}
console.log(JSON.stringify(seen));

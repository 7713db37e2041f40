// A whole session of the TypeScript SDK's client, with the server that the arguments start or name:
// `node session.mjs stdio COMMAND ARG...` or `node session.mjs http URL` with the token in `TOKEN`.
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { ElicitRequestSchema } from "@modelcontextprotocol/sdk/types.js";

const [over, where, ...args] = process.argv.slice(2);
const found = { progress: [], asked: [] };

function transport() {
  if (over === "stdio") {
    return new StdioClientTransport({ command: where, args, env: process.env, stderr: "inherit" });
  }
  const headers = { Authorization: `Bearer ${process.env.TOKEN}` };
  return new StreamableHTTPClientTransport(new URL(where), { requestInit: { headers } });
}

async function connected(capabilities) {
  const client = new Client({ name: "session", version: "1.0.0" }, { capabilities });
  await client.connect(transport());
  return client;
}

async function permission(client) {
  const args = { act: "approve", arguments: ["git push", "origin main"] };
  const result = await client.callTool({ name: "people__people", arguments: args });
  return JSON.parse(result.content[0].text);
}

const client = await connected({ elicitation: {} });
const says = [
  { action: "accept", content: { decision: "once" } },
  { action: "accept", content: { decision: "no" } },
  { action: "decline" },
  { action: "cancel" },
];
client.setRequestHandler(ElicitRequestSchema, (request) => {
  found.asked.push(request.params);
  return says[found.asked.length - 1];
});
found.server = client.getServerVersion().name;
found.tools = (await client.listTools()).tools.map((tool) => tool.name).sort();
found.echo = await client.callTool({ name: "echo__echo", arguments: { text: "from elsewhere" } });
try {
  await client.callTool({ name: "echo__nothing", arguments: {} });
} catch (error) {
  found.missing = { code: error.code, message: error.message };
}
try {
  await client.callTool({ name: "spinner__spin", arguments: {} }, undefined, {
    timeout: 2500,
    onprogress: (news) => found.progress.push(news.progress),
  });
} catch (error) {
  found.given_up = error.message;
}
found.after = await client.callTool({ name: "echo__echo", arguments: { text: "still here" } });
found.decided = [];
for (const _ of says) found.decided.push(await permission(client));
await client.close();

const mute = await connected({});
found.mute = await permission(mute);
await mute.close();
console.log(JSON.stringify(found));

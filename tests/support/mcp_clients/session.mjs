// A whole session of the TypeScript SDK's client with the server that the arguments start.
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";

const [command, ...args] = process.argv.slice(2);
const transport = new StdioClientTransport({ command, args, env: process.env, stderr: "inherit" });
const client = new Client({ name: "session", version: "1.0.0" }, { capabilities: {} });
await client.connect(transport);

const found = { server: client.getServerVersion().name, progress: [] };
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
await client.close();
console.log(JSON.stringify(found));

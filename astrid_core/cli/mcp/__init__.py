"""`astrid mcp`: the tools of capsules and servers for any MCP client, and servers for capsules."""

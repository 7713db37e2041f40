"""MCP server engine for the Astrid kernel; `plugin` is where it begins."""

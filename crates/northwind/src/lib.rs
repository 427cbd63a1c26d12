//! A demo MCP server over one SQLite file.

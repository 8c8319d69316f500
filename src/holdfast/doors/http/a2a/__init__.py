"""A2A: other agents give tasks to this one, over JSON-RPC or plain HTTP, and follow them."""

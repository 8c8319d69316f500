"""What an agent can do: the built-in tools, and the safe way to the files they work on."""

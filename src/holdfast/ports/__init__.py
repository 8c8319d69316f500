"""The sockets: one Protocol for each kind of outside thing, with its contract in words."""

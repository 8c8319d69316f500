"""AG-UI: web pages run the agent and hear what it does, event by event."""

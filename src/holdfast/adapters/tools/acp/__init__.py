"""Other agents, each in a box, that are asked over the Agent Client Protocol."""

"""AgentDojo's tasks through the whole product, with a model that always obeys the attacker."""

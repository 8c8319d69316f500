"""OpenAI's interface under `/v1`: plain models asked straight, and agents as models."""

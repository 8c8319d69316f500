"""Logging in to servers of tools: who issues logins, what we are to them, what they gave us."""

"""Slack as a person has it: logins to workspaces, and tools that read and post as that person."""

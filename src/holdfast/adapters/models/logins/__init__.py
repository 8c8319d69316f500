"""Logins: tokens that are refreshed, instead of keys. Who issues them, where they are kept."""

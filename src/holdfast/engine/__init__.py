"""Moves tasks: records, performs, waits, recovers. All the concurrency."""

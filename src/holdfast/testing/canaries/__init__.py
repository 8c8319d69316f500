"""Secrets planted all over a house at work, a hostile run, and a search for them afterwards."""

"""Holdfast as a server of the Model Context Protocol, for any host that speaks it."""

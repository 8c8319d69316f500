"""Language models: providers, offline rules and scripts. To add a kind: see catalog.py."""

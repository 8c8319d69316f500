"""The one way out: names and addresses checked, requests written down, secrets put in last."""

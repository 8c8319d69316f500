"""HTTP: JSON over a local port and a Unix socket, with the document that describes it."""

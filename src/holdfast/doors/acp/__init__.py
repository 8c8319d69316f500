"""The way in for editors: the Agent Client Protocol on stdin and stdout, bridged to the daemon."""

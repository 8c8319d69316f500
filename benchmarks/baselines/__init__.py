"""What the figures are compared with. Each module runs one round and prints one line of JSON."""

"""The escape suite: attacks that any kind of box is held against, with decoys on this machine."""

"""Boxes made by a container engine, Docker or Podman, with or without gVisor's kernel below."""

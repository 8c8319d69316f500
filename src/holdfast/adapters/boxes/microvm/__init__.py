"""Boxes with a kernel of their own: small virtual machines of QEMU, talked with over a wire."""

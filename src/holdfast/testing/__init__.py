"""Shipped fakes and one contract suite per port."""

"""What model calls cost: a provider that answers at once, a load, and who stands between them."""

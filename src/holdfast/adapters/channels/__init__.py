"""Where results go, besides to whoever is watching."""

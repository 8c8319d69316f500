"""What runs in the box: attacks that need nothing but Python's own library."""

"""What runs in the box: attacks that need nothing but Python's own library, so it can be any box."""

"""What runs inside the machine as its first process; it imports nothing but Python's own library."""

"""What runs inside the machine as its first process, with nothing but Python's own library."""

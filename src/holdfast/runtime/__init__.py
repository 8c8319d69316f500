"""What can be asked of the system: one plain function per use case."""

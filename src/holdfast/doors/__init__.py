"""Ways in. They parse, authenticate, call runtime, render. They never decide."""

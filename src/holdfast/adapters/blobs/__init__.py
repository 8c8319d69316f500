"""Where whole files are kept, by content."""

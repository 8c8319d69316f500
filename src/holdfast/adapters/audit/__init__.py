"""Who signs the audit, and the copy of it that is a plain file."""

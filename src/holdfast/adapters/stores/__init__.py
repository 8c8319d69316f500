"""Where tasks are remembered: one SQLite file, or nothing but memory."""

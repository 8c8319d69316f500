"""A real browser for each task, alone in a box of its own, spoken to through a pipe."""

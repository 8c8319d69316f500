"""What each command leads to: one module for single calls, one for turns, one for a task's life."""

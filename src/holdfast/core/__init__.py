"""What a task is and how it moves. Pure: data in, data out."""

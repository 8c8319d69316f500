"""Where the files are that clients have put here, to name them later."""

"""Where answers are kept that their client may come back to. To add one: see ports/responses.py."""

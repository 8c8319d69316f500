"""Tools that ask agents elsewhere: by the one way out, once, and what they say is a stranger's."""

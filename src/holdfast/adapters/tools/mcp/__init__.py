"""Tools of servers that strangers wrote: talked with strictly, offered only as a person agreed."""

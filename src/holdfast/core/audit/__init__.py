"""What must be provable later: facts, and the chain and tree of hashes that hold them. Pure."""

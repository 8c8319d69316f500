"""What is allowed: rules, what they are told of a call, and the verdict. Pure."""

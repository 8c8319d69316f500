"""What the daemon says about itself, for people and machines that look after it."""

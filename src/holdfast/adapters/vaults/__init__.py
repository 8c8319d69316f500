"""Where secrets are kept: for the daemon, and for nobody else."""

"""What Holdfast costs, measured beside named baselines in one run: `./benchmarks/run`."""

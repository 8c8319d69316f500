"""The plugs, one folder per socket; kinds know nothing of each other."""

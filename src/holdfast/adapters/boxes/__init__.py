"""Where commands run: a disposable place that sees one folder and a minimal system."""

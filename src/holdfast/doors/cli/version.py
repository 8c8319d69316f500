"""Which Holdfast this is. Equal to the version in pyproject.toml; a test holds that."""

VERSION = "0.1.0"

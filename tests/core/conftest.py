"""How hard the properties are tried: `fast` by default, `ci` with HYPOTHESIS_PROFILE=ci."""

import os

from hypothesis import settings

settings.register_profile("fast", max_examples=60, deadline=None, database=None)
settings.register_profile("ci", max_examples=1_000, deadline=None, database=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fast"))

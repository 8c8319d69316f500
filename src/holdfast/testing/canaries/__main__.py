"""Run it: `python -m holdfast.testing.canaries`."""

import sys

from .command import main

sys.exit(main())

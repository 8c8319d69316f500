"""`python -m holdfast.doors.cli`."""

import sys

from .dispatch import main

sys.exit(main())

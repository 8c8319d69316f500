"""`python -m holdfast.assembly`."""

import sys

from .command import main

sys.exit(main())

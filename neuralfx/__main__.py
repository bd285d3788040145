"""``python -m neuralfx`` is the same as ``neuralfx``."""

import sys

from neuralfx.cli import main

sys.exit(main())

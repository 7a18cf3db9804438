"""``python -m mola_core.cli`` is ``mola``."""

import sys

from mola_core.cli import main

sys.exit(main())

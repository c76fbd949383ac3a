"""``python -m fbfl`` is the `fbfl` command."""

import sys

from fbfl.cli import main

sys.exit(main())

"""`python -m loracle` is `loracle`."""

import sys

from loracle.cli import main

sys.exit(main())

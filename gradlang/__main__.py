"""`python -m gradlang`."""

import sys

from gradlang.cli import main

sys.exit(main())

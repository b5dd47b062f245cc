"""``python -m textkit``."""

import sys

from textkit.cli import main

if __name__ == "__main__":
    sys.exit(main())

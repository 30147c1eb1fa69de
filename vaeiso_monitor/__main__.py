"""The program: ``vaeiso-monitor`` and ``python -m vaeiso_monitor``."""

import sys

from vaeiso_monitor.cli import main

if __name__ == "__main__":
    sys.exit(main())

"""`python -m astrid_core.daemon`: the kernel process."""

from __future__ import annotations

import sys

from astrid_core.daemon.main import main

if __name__ == "__main__":
    sys.exit(main())

"""`python -m astrid_core`: the same as the `astrid` command."""

from __future__ import annotations

from astrid_core.cli.entry import main

if __name__ == "__main__":
    main()

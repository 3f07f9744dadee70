"""`python -m tuneworthy`: the command line.

Python looks for modules in the current folder first, which may be a stranger's: nothing more is imported from there.
"""

import sys
from pathlib import Path

if __name__ == "__main__":
    if not sys.flags.safe_path and sys.path[:1] == [str(Path.cwd())]:
        del sys.path[0]
    from tuneworthy.cli import main

    main()

"""`python -m tuneworthy`: the command line.

Python looks for modules in the current folder first, which may be a stranger's: nothing more is imported from there.
"""

import sys

if __name__ == "__main__":
    if not sys.flags.safe_path:
        del sys.path[0]
    from tuneworthy.start import main

    main()

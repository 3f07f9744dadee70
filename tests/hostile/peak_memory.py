"""Ask all cases of a project in a session, and print the peak of this process's memory, MB.

``python -m tests.hostile.peak_memory PROJECT``
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path

from tests.hostile.fault_project import ask
from tuneworthy.errors import TuneworthyError

if __name__ == "__main__":
    try:
        ask(Path(sys.argv[1]))
    except TuneworthyError as error:
        print(error, file=sys.stderr)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)

"""Ask all cases of a project in a session, and print the peak of this process's memory, MB.

``python -m tests.hostile.peak_memory PROJECT``
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.hostile.fault_project import ask
from tuneworthy.errors import TuneworthyError

if __name__ == "__main__":
    try:
        ask(Path(sys.argv[1]))
    except TuneworthyError as error:
        print(error, file=sys.stderr)
    # not ru_maxrss, which begins with the memory of the process that started this one
    status = Path("/proc/self/status").read_text()
    print(int(status.partition("VmHWM:")[2].split()[0]) // 1024)

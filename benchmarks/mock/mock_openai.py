"""A mock of an OpenAI-compatible server on loopback, fast enough that the client is what is measured.

    python benchmarks/mock/mock_openai.py PORT LATENCY_MS FAULTS

Builds mock_openai.c with gcc into the temporary folder at first use and becomes it. MOCK_CPU pins it to a core
(default 1; run the client on another). FAULTS is 0 or 1: 10 % 429 with Retry-After 1, 5 % 500, 1 % hang for 60 s,
1 % truncated JSON. Control: GET /_stats, /_reset, /_set?latency=200&faults=1&dspy=1&model=NAME. It counts each `#ID<n>`
that it finds in a body, so that repeated calls show.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path


def build() -> Path:
    """Return the program, compiled if it is not there."""
    source = Path(__file__).with_name("mock_openai.c")
    program = Path(tempfile.gettempdir()) / f"mock_openai-{source.stat().st_mtime_ns}"
    if not program.exists():
        partial = program.with_suffix(f".{os.getpid()}")
        subprocess.run(["gcc", "-O2", "-o", partial, source], check=True)
        partial.replace(program)
    return program


if __name__ == "__main__":
    core = os.environ.get("MOCK_CPU", "1")
    os.execvp("taskset", ["taskset", "-c", core, str(build()), *sys.argv[1:]])

"""Real data of the tests: the folder that `TUNEWORTHY_TEST_DATA` names, with banking77/, restaurant8k/ and xquad/."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

VARIABLE = "TUNEWORTHY_TEST_DATA"
REAL_DATA = Path(os.environ.get(VARIABLE, "/nonexistent"))

needs_real_data = pytest.mark.skipif(
    not REAL_DATA.is_dir(), reason=f"{VARIABLE} names no folder with banking77/, restaurant8k/ and xquad/"
)

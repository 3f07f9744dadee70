"""Types of NumPy arrays."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
# The lower and the upper bound of an interval, as in `types`; the upper one is None if it is open.
Bounds = tuple[float, float]
OpenBounds = tuple[float, float | None]
# Numerators and denominators, or lower and upper ends.
FloatPair = tuple[Floats, Floats]
Floats32 = NDArray[np.float32]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Hashes = NDArray[np.uint64]

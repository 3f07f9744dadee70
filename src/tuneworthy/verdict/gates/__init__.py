"""The gates of a verdict, a file a stage: each looks at the evidence and says pass, fail, unknown or not applicable."""

from tuneworthy.verdict.gates.base import GATES, NEVER_WAIVED, Finding, Gate, gate, run_gates
from tuneworthy.verdict.gates.to_decide import FEWEST_CASES
from tuneworthy.verdict.gates.to_ship import TO_SHIP
from tuneworthy.verdict.gates.to_train import TO_TRAIN

__all__ = ["FEWEST_CASES", "GATES", "NEVER_WAIVED", "TO_SHIP", "TO_TRAIN", "Finding", "Gate", "gate", "run_gates"]

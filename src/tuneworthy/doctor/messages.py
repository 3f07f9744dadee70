"""Sentences about the state of the store."""

from typing import Final

from tuneworthy.catalogue import Catalogue

say = Catalogue(
    {
        # faults
        "not_sqlite": "SQLite cannot read the file: {error}.",
        # consequences
        # repairing
    },
).say

# Column of a bad value to the consequence.
ROW_COSTS: Final = {
    "key": "The answer can no longer be found. Its cost still counts.",
    "body": "One answer must be requested and paid for again. Its earlier cost still counts.",
    "cost_usd": "The cost is unknown, so the budget cannot be enforced. A repair assumes the file's highest cost.",
    "ceiling_usd": "The cost is unknown, so the budget cannot be enforced. A repair assumes the file's highest cost.",
    "created": "The date of one answer is unknown. A repair uses the date of the file.",
}
# Record to what its loss costs.
RECORD_COSTS: Final = {
    "split": ("Run `tuneworthy run` to draw dev and test again. They are the same if the cases have not changed."),
    "comparisons": "It is unknown how often the test set was used. Restore the file from a backup.",
    "revealed": "It is unknown which test answers were shown. Restore the file from a backup.",
    "run": "Run `tuneworthy run` to rebuild the record from the stored answers.",
    "quick": "Run `tuneworthy run --quick` to rebuild the record from the stored answers.",
    "verdict": "Run `tuneworthy decide` to compute the verdict again.",
    "errors": "Run `tuneworthy decide --probe` to rebuild the error analysis from the stored answers.",
    "domain": "Run `tuneworthy decide --probe` to score the domain's text again.",
    "judge": "Run `tuneworthy run` to validate the judge again from the stored answers.",
    "pilot": "Run `tuneworthy train --pilot` to train the pilot again.",
    "parity": "Run `tuneworthy parity` to check parity again.",
    "serving": "Run `tuneworthy parity --url URL --served-model NAME` to check the server again.",
    "shadow": "Run `tuneworthy shadow replay` again; its answers are stored.",
    "served": "A running server is not recognised. Run `tuneworthy serve` to start it again.",
    "uncertainty": "Run `tuneworthy decode uncertainty` to rebuild the record from the stored answers.",
    "sweeps/*": "Run `tuneworthy decode sweep` to rebuild the record from the stored answers.",
    "models/latest-*": "The latest model of this kind is unknown until a new one is made. Until then, pass an ID.",
    "datasets/latest": "Run `tuneworthy data build` to find the latest version again.",
    "imports/latest": "Run `tuneworthy data import` to find the latest import again.",
}
# Folder to the consequence of damage.
FROZEN_COSTS: Final = {
    "models": "This model cannot be used. Rerun the command that created it.",
    "datasets": "This version cannot be used. Run `tuneworthy data build` to create it again.",
    "imports": "This import cannot be used. Run `tuneworthy data import` to create it again.",
}


def summary(n_damaged: int, n_repaired: int, n_can: int) -> str:
    """Say how many faults there are, and the next step."""
    repaired = f"Repaired {n_repaired} fault{'s' * (n_repaired != 1)}. " if n_repaired else ""
    if not n_damaged:
        return repaired + "The store has no faults."
    rest = f"The store has {n_damaged} fault{'s' * (n_damaged != 1)}. {n_can} can be repaired."
    return repaired + rest + (" Next: tuneworthy doctor --repair" if n_can else "")

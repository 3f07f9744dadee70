"""Sentences about the state of the store."""

from typing import Final

from tuneworthy.catalogue import Catalogue

say = Catalogue(
    {
        # what is wrong
        "not_sqlite": "SQLite cannot read the file: {error}.",
        "foreign": "It differs from what this version makes: {what}.",
        "integrity": "SQLite reports: {line}.",
        "bad_key": "The key of the row is not one that this tool makes.",
        "file_changed": "The file is gone or was changed after it was made.",
        "no_regular_file": "It is not a regular file.",
        "no_folder": "It is not a folder.",
        # what it costs
        "cost_file": "Answers may be lost or paid for again until the file is rebuilt; rows that can be read are kept.",
        "cost_no_file": "No stored answer can be read: all would be asked and paid for again.",
        "cost_searches": "Searches of the documents are made again.",
        "cost_reviews": "Reviews cannot be read until a person corrects the line.",
        "cost_lock": "No command that writes can start.",
        "cost_no_folder": "Nothing can be stored. Move it away.",
        # repairing
        "nothing_stored": "{path} does not exist: nothing is stored.",
        "name_project": "Name the folder of the project with --project.",
        "read_only": "{path} cannot be written.",
        "copy_project": "Copy the project to a folder of your own, and repair the copy.",
    }
).say

# Column of a bad value to what it costs.
ROW_COSTS: Final = {
    "key": "The answer is never found again; its cost still counts.",
    "body": "One answer must be asked again; its cost still counts.",
    "cost_usd": "The budget cannot be kept until the cost is known. A repair takes the highest cost of the file.",
    "ceiling_usd": "The budget cannot be kept until the ceiling is known. A repair takes the highest cost of the file.",
    "created": "The date of one answer is not known. A repair takes that of the file.",
}
# Record to what its loss costs.
RECORD_COSTS: Final = {
    "split": "`tuneworthy run` draws dev and test again from the seed: the same split, if the cases did not change.",
    "comparisons": "Nobody can say how often the test set was used. Put the file back from a backup.",
    "revealed": "Nobody can say which test answers were shown. Put the file back from a backup.",
    "run": "`tuneworthy run` writes it again from the stored answers.",
    "quick": "`tuneworthy run --quick` writes it again from the stored answers.",
    "verdict": "`tuneworthy decide` computes it again.",
    "errors": "`tuneworthy decide --probe` writes it again from the stored answers.",
    "judge": "`tuneworthy run` validates the judge again from the stored answers.",
    "pilot": "`tuneworthy train --pilot` trains the pilot again.",
    "parity": "`tuneworthy parity` proves it again.",
    "serving": "`tuneworthy serve --check` proves it again.",
    "served": "A server that runs now is not recognised; start `tuneworthy serve` again.",
    "uncertainty": "`tuneworthy decode uncertainty` writes it again from the stored answers.",
    "probes/*": "`tuneworthy models probe` measures it again.",
    "sweeps/*": "`tuneworthy decode sweep` writes it again from the stored answers.",
    "models/latest-*": "The next model of that kind that is made becomes the latest; until then, give an id.",
    "datasets/latest": "`tuneworthy data build` finds the version again.",
    "imports/latest": "`tuneworthy data import` finds the import again.",
}
# Folder to what it costs when one in it is damaged.
FROZEN_COSTS: Final = {
    "models": "This model cannot be used. Make it again with the command that made it.",
    "datasets": "This version cannot be used. `tuneworthy data build` makes it again.",
    "imports": "This import cannot be used. `tuneworthy data import` makes it again.",
}


def summary(n_damaged: int, n_repaired: int, n_can: int) -> str:
    """Say how many damages there are, and what comes next."""
    repaired = f"{n_repaired} damage{'s' * (n_repaired != 1)} repaired. " if n_repaired else ""
    if not n_damaged:
        return repaired + "The store is whole."
    rest = f"{n_damaged} damage{'s' * (n_damaged != 1)}, of which {n_can} can be repaired."
    return repaired + rest + (" Next: tuneworthy doctor --repair" if n_can else "")

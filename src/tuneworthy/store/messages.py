"""Sentences about stored files."""

from collections.abc import Mapping
from typing import Final

from tuneworthy.catalogue import Catalogue

say = Catalogue(
    __name__,
    {
        "folder_is_link": "{path} is a link, but it must be a folder.",
        "link_in_folder": "{path} is a link to a place outside the folder.",
        "folder_of_other": "{path} belongs to another user (UID {uid}).",
        "remove_folder": "Remove the link, then run the command again.",
        "remove_link": "Remove the link, then run the command again.",
        "own_folder": "Run the command as that user, or change the owner of the folder if you trust its content.",
        "line_file_is_link": "{path} is a link, but it must be a regular file.",
        "not_json": "{path} is not valid JSON: {error}.",
        "not_a_file": "{path} is not a regular file.",
        "other_shape": "{path} is damaged ({place}: {fault}).",
        "whole_record": "the whole record",
        "run_doctor": (
            "Run `tuneworthy doctor` to see the consequences of the damage. Run `tuneworthy doctor --repair` to move "
            "the damaged file out of the way."
        ),
        "locked": "Process {pid} is using this project. Waiting for it to finish.",
        "store_unavailable": "{path} cannot be read or written: {error}.",
        "check_disk": "Check that the disk has free space and that the folder is writable, then run the command again.",
        "store_broken": "{path} is not a valid database of cached answers: {error}.",
        "foreign_object": "{path} differs from the database that this version creates: {what}.",
        "not_money": "{path}, row {row}: {column} is not an amount of money.",
        "file_changed": "{path} has been added, modified or deleted since the model was created.",
        "no_artifact": "No {kind} yet.",
        "no_such_artifact": "The ID prefix {start!r} does not match exactly one {kind}.",
        "check_prefix": "If you passed an ID, check it. Otherwise, run `tuneworthy {verb}`.",
        "make_artifact": "Run `tuneworthy {verb}`.",
    },
).say

# Kinds of stored models, as nouns
KINDS: Final[Mapping[str, str]] = {
    "base": "base model",
    "adapter": "adapter",
    "merged": "merged model",
    "gguf": "GGUF file",
    "hosted": "hosted model",
    "classifier": "classifier",
}

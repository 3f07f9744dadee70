"""Sentences about stored files."""

from tuneworthy.catalogue import Catalogue

say = Catalogue(
    {
        "not_json": "{path} is not valid JSON: {error}.",
        "move_file_away": "Move the file away and run again.",
        "locked": "Process {pid} is working on this project; waiting for it to end.",
        "store_unavailable": "{path} cannot be read or written: {error}.",
        "check_disk": "Check that the disk has room and that the folder is writable, and run again.",
        "store_broken": "{path} is not a file of stored answers: {error}.",
        "recover_store": "Move the file away to start over, or repair it with `sqlite3 FILE .recover`.",
        "file_changed": "{path} was changed after it was made.",
        "no_artifact": "There is no finished {kind} model.",
        "no_such_artifact": "No single {kind} model has an id that begins with {start}.",
        "make_artifact": "Run `tuneworthy {verb}`.",
    }
).say

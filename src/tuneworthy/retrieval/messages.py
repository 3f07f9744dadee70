"""Every sentence of this folder that a person reads."""

from tuneworthy.catalogue import Catalogue

say = Catalogue(
    {
        # Missing packages and files
        "no_lancedb": "The search index needs the package LanceDB. {install}",
        "no_cross_encoder": "The cross-encoder needs torch and transformers. {install}",
        "install": 'Run `pip install "tuneworthy[{extra}]"`.',
        "no_documents": "There are no documents at {path}.",
        "set_path": "Set [documents] path to the folder or file that contains the documents.",
        # Models and servers
        "odd_scores": "scores with NaN or infinite values",
        # Why a file or row is left out
        "empty": "empty",
        "unreadable": "unreadable {kind}: {error}",
        "not_readable": "unreadable: {reason}",
        "not_utf8": "not UTF-8",
    },
).say


def remaining(n: int) -> str:
    return f" and {n} more" if n > 0 else ""

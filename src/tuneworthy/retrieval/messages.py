"""Every sentence of this folder that a person reads."""

from __future__ import annotations

from typing import Final

# What is not installed or not there
NO_LANCEDB: Final = "The search index needs LanceDB."
NO_LLAMA_CPP: Final = "The embedded llama.cpp is not installed."
NO_TORCH: Final = "The sentence encoder needs torch and tokenizers."
NO_CROSS_ENCODER: Final = "The cross-encoder needs torch and transformers."
NO_PARSER: Final = "{kind} documents need the package {package}."
INSTALL: Final = 'Run `pip install "tuneworthy[{extra}]"`.'
INSTALL_SEMANTIC: Final = 'Run `pip install "tuneworthy[semantic]"`; a CPU build of torch is enough.'
INSTALL_OR_CONVERT: Final = 'Run `pip install "tuneworthy[rag]"`, or convert them to text.'
NO_DOCUMENTS: Final = "No documents at {path}."
SET_PATH: Final = "Set [documents] path to the folder or file that holds them."
EMPTY_DOCUMENTS: Final = "The documents hold no text."
OTHER_DOCUMENTS: Final = "The documents have changed since the variant was measured."
RESTORE_DOCUMENTS: Final = "Restore them, or run `tuneworthy run` again."
ASKS_NOTHING: Final = "This search needs a server of [retrieval], and this command sends no requests."
RUN_FIRST: Final = "Run `tuneworthy run` first."

# Models and servers
NOT_SAFETENSORS: Final = "{path} is not a valid safetensors file: {reason}."
PULL_AGAIN: Final = "Delete it, and run `tuneworthy models pull` again."
NOT_A_CROSS_ENCODER: Final = "{model} is not a cross-encoder with one label: {reason}."
NAME_CROSS_ENCODER: Final = "Name a folder with a cross-encoder in [retrieval] reranker."
NOT_A_GGUF_ENCODER: Final = "retrieval.encoder needs a GGUF file, and {path} is a folder."
NAME_GGUF: Final = "Name a GGUF file."
NO_VECTOR: Final = "{model} returns no vector: {reason}"
NAME_EMBEDDING_MODEL: Final = "Name an embedding model, or set `pooling`."
NO_VECTORS: Final = "{model}: llama.cpp returns no vectors ({reason})."
SEE_LOG: Final = "See {log}."
NO_SERVER_ANSWER: Final = "No answer of {base_url}/{path}. {reason}"
RUN_AGAIN: Final = "Run the same command again when the server works; nothing that was answered is paid for twice."
ODD_ANSWER: Final = "{base_url}/{path} answers something else than the protocol says: {reason}."
CHECK_SERVER: Final = "Check that base_url and model name a server of this kind."
ODD_VECTORS: Final = "{n_rows} vectors for {n_texts} texts, or vectors that are not finite"
ODD_SCORES: Final = "a score that is not finite"
ODD_WIDTHS: Final = "vectors of different widths"

# Notes about the documents
LEFT_OUT: Final = "documents: {count} left out ({reason}): {names}"
SHARED_NAME: Final = (
    "documents: {count} share the name {name!r}. Their ids are numbered, and any of them counts for a case."
)
LARGE_DOCUMENT: Final = "documents: {id} has {millions:.1f} million characters, {share:.0%} of all"
INJECTION: Final = "documents: {count} hold instructions to a model ({names}): {sentence!r}"
NOT_RERANKED: Final = "Nothing is reranked. {reason}"
TOO_MANY_CHUNKS: Final = "documents: about {n:,} chunks of {size} tokens, more than {most:,}: only BM25 searches them"
MANY_CHUNKS: Final = "documents: about {n:,} chunks of {size} tokens are encoded once before the first search{duration}"
DURATION: Final = " (about {minutes:.0f} minutes on one core)"

# Why a file or row is left out
EMPTY: Final = "empty"
SCANNED_PAGE: Final = "page without text: scanned pages need OCR first"
SCANNED_PDF: Final = "PDF without text: scanned pages need OCR first"
UNREADABLE: Final = "{kind} that cannot be read ({error})"
NOT_READABLE: Final = "cannot be read ({reason})"
LINK_OUTSIDE: Final = "a link that leads out of the folder"
NOT_A_FILE: Final = "not a file"
UNKNOWN_ENDING: Final = "{ending} files are not read"
NO_ENDING: Final = "a file without an ending is not read"
NOT_A_DOCUMENT_ROW: Final = "not a JSON object with a text"
NOT_UTF8: Final = "not UTF-8"


def remaining(n: int) -> str:
    """Return what follows the first names of a list; "" if it is complete."""
    return f" and {n} more" if n > 0 else ""

"""Every sentence of this folder that a person reads."""

from tuneworthy.catalogue import Catalogue

say = Catalogue(
    __name__,
    {
        # What is not installed or not there
        "no_lancedb": "The search index needs the package LanceDB. {install}",
        "no_llama_cpp": "The package xllamacpp is not installed.",
        "no_torch": "The sentence encoder needs torch and tokenizers.",
        "no_cross_encoder": "The cross-encoder needs torch and transformers. {install}",
        "no_parser": "{kind} documents need the package {package}.",
        "install": 'Run `pip install "tuneworthy[{extra}]"`.',
        "install_semantic": 'Run `pip install "tuneworthy[semantic]"`. A CPU build of torch is enough.',
        "install_or_convert": 'Run `pip install "tuneworthy[rag]"`, or convert the documents to text.',
        "no_documents": "There are no documents at {path}.",
        "set_path": "Set [documents] path to the folder or file that contains the documents.",
        "empty_documents": "The documents contain no text.",
        "other_documents": "The documents have changed since this variant was measured.",
        "restore_documents": "Restore the documents, or run `tuneworthy run`.",
        "asks_nothing": "This search needs a [retrieval] server, but this command sends no requests.",
        "run_first": "Run `tuneworthy run` first.",
        # Models and servers
        "not_safetensors": "{path} is not a valid safetensors file: {reason}.",
        "pull_again": "Delete the file, and run `tuneworthy models pull MODEL` again.",
        "not_a_cross_encoder": "{model} is not a cross-encoder with a single label: {reason}.",
        "name_cross_encoder": "Set model in [retrieval.reranker] to a folder that contains a cross-encoder.",
        "not_a_gguf_encoder": "retrieval.encoder needs a GGUF file, but {path} is a folder.",
        "name_gguf": "Set model in [retrieval.encoder] to a GGUF file.",
        "no_vector": "{model} returns no vector: {reason}",
        "name_embedding_model": "Set model in [retrieval.encoder] to an embedding model, or set pooling there.",
        "no_vectors": "{model}: llama.cpp returns no vectors ({reason}).",
        "see_log": "See the log {log}.",
        "no_server_answer": "No response from {base_url}/{path}. {reason}",
        "run_again": "Run the same command again once the server works. Finished calls are not paid for twice.",
        "odd_answer": "The response from {base_url}/{path} does not follow the API: {reason}.",
        "check_server": "Check base_url and model of this server in [retrieval].",
        "odd_count": "{n_rows} {n_rows:vector|vectors} for {n_texts} {n_texts:text|texts}",
        "odd_vectors": "vectors with NaN or infinite values",
        "odd_scores": "scores with NaN or infinite values",
        "odd_widths": "vectors of different dimensions",
        # Notes about the documents
        "left_out": "documents: {count} left out ({reason}): {names}",
        "shared_name": (
            "documents: {count} share the name {name!r}. Their IDs are numbered, and a case may match any of them."
        ),
        "large_document": "documents: {id} has {millions:.1f} million characters, {share:.1%} of the total",
        "injection": "documents: {count} with instructions for a model ({names}), such as {sentence!r}",
        "not_reranked": "Search results are not reranked. {reason}",
        "too_many_chunks": (
            "documents: about {n:,} chunks of {size} tokens, more than the limit of {most:,}, so only BM25 searches "
            "them"
        ),
        "many_chunks": (
            "documents: about {n:,} chunks of {size} tokens are encoded once, before the first search{duration}"
        ),
        "duration": " (about {minutes:.0f} minutes on one core)",
        # Why a file or row is left out
        "empty": "empty",
        "scanned_page": "page without text; run OCR first",
        "scanned_pdf": "PDF without text; run OCR first",
        "unreadable": "unreadable {kind}: {error}",
        "not_readable": "unreadable: {reason}",
        "link_outside": "a link that points outside the folder",
        "not_a_file": "not a file",
        "unknown_ending": "{ending} files are not supported",
        "no_ending": "files without an extension are not supported",
        "not_a_document_row": "not a JSON object with a text field",
        "not_utf8": "not UTF-8",
    },
).say


def remaining(n: int) -> str:
    """Return what follows the first names of a list; "" if it is complete."""
    return f" and {n} more" if n > 0 else ""

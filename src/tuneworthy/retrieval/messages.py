"""Every sentence of this folder that a person reads."""

from tuneworthy.catalogue import Catalogue

say = Catalogue(
    {
        # What is not installed or not there
        "no_lancedb": "The search index needs LanceDB.",
        "no_llama_cpp": "The embedded llama.cpp is not installed.",
        "no_torch": "The sentence encoder needs torch and tokenizers.",
        "no_cross_encoder": "The cross-encoder needs torch and transformers.",
        "no_parser": "{kind} documents need the package {package}.",
        "install": 'Run `pip install "tuneworthy[{extra}]"`.',
        "install_semantic": 'Run `pip install "tuneworthy[semantic]"`; a CPU build of torch is enough.',
        "install_or_convert": 'Run `pip install "tuneworthy[rag]"`, or convert them to text.',
        "no_documents": "No documents at {path}.",
        "set_path": "Set [documents] path to the folder or file that holds them.",
        "empty_documents": "The documents hold no text.",
        "other_documents": "The documents have changed since the variant was measured.",
        "restore_documents": "Restore them, or run `tuneworthy run` again.",
        "asks_nothing": "This search needs a server of [retrieval], and this command sends no requests.",
        "run_first": "Run `tuneworthy run` first.",
        # Models and servers
        "not_safetensors": "{path} is not a valid safetensors file: {reason}.",
        "pull_again": "Delete it, and run `tuneworthy models pull` again.",
        "not_a_cross_encoder": "{model} is not a cross-encoder with one label: {reason}.",
        "name_cross_encoder": "Name a folder with a cross-encoder in [retrieval] reranker.",
        "not_a_gguf_encoder": "retrieval.encoder needs a GGUF file, and {path} is a folder.",
        "name_gguf": "Name a GGUF file.",
        "no_vector": "{model} returns no vector: {reason}",
        "name_embedding_model": "Name an embedding model, or set `pooling`.",
        "no_vectors": "{model}: llama.cpp returns no vectors ({reason}).",
        "see_log": "See {log}.",
        "no_server_answer": "No answer of {base_url}/{path}. {reason}",
        "run_again": "Run the same command again when the server works; nothing that was answered is paid for twice.",
        "odd_answer": "{base_url}/{path} answers something else than the protocol says: {reason}.",
        "check_server": "Check that base_url and model name a server of this kind.",
        "odd_vectors": "{n_rows} vectors for {n_texts} texts, or vectors that are not finite",
        "odd_scores": "a score that is not finite",
        "odd_widths": "vectors of different widths",
        # Notes about the documents
        "left_out": "documents: {count} left out ({reason}): {names}",
        "shared_name": (
            "documents: {count} share the name {name!r}. Their ids are numbered, and any of them counts for a case."
        ),
        "large_document": "documents: {id} has {millions:.1f} million characters, {share:.0%} of all",
        "injection": "documents: {count} hold instructions to a model ({names}): {sentence!r}",
        "not_reranked": "Nothing is reranked. {reason}",
        "too_many_chunks": "documents: about {n:,} chunks of {size} tokens, more than {most:,}: only BM25 searches them",
        "many_chunks": "documents: about {n:,} chunks of {size} tokens are encoded once before the first search{duration}",
        "duration": " (about {minutes:.0f} minutes on one core)",
        # Why a file or row is left out
        "empty": "empty",
        "scanned_page": "page without text: scanned pages need OCR first",
        "scanned_pdf": "PDF without text: scanned pages need OCR first",
        "unreadable": "{kind} that cannot be read ({error})",
        "not_readable": "cannot be read ({reason})",
        "link_outside": "a link that leads out of the folder",
        "not_a_file": "not a file",
        "unknown_ending": "{ending} files are not read",
        "no_ending": "a file without an ending is not read",
        "not_a_document_row": "not a JSON object with a text",
        "not_utf8": "not UTF-8",
    }
).say


def remaining(n: int) -> str:
    """Return what follows the first names of a list; "" if it is complete."""
    return f" and {n} more" if n > 0 else ""

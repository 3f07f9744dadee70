"""[serve]: where the fine-tuned model answers, if it is not the embedded llama.cpp."""

from tuneworthy.config.base import Section


class Serve(Section):
    """A server of the fine-tuned model."""

    model: str | None = None
    """Key of `[models]` that answers with the fine-tuned model, such as a vLLM server of the merged model. It
    enters only the rung `fine_tune`, and only while the server runs and reports that it serves a model of this project.
    If not set, the exported GGUF files enter, in the embedded llama.cpp."""

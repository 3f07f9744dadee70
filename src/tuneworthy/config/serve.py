"""[serve]: where the tuned model answers, if it is not the embedded llama.cpp."""

from tuneworthy.config.base import Section


class Serve(Section):
    """A server of the tuned model."""

    model: str | None = None
    """Key of `[models]` that answers with the tuned model, such as a vLLM that `tuneworthy serve` started: it enters
    the rung `fine_tune` and no other, while the server runs and tells a model of this project. If not set, the exported
    GGUF files enter, in the embedded llama.cpp."""

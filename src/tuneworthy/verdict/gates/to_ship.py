"""The gates before shipping: is it the model that was measured, is it better, was nothing lost, and is it served?"""

from __future__ import annotations

from typing import Final

from tuneworthy.verdict.evidence import Evidence, RungEvidence
from tuneworthy.verdict.gates.base import FAIL, PASS, UNKNOWN, Finding, gate
from tuneworthy.verdict.gates.to_train import dataset_contamination
from tuneworthy.verdict.training_facts import ProofEvidence
from tuneworthy.verdict.wording import named

TO_SHIP: Final = ("parity", "improvement", "regressions", "serving", "shadow")
"""The gates of this stage."""
RUN = "`tuneworthy run --rung fine_tune`"
NOT_TESTED = f"no tuned model was put to test; run {RUN}"


@gate("parity", "to_ship")
def parity(evidence: Evidence) -> Finding:
    """Adapter, merged model and exported file are one model: the one that was put to test."""
    return _proof(evidence.training.parity, "the tuned model was not compared across its forms", "parity")


@gate("improvement", "to_ship")
def better(evidence: Evidence) -> Finding:
    """The tuned model is better than the best upstream variant, or no worse and cheaper, faster, or allowed where it
    is not; on a test that nothing it was trained on gives away."""
    tuned = evidence.tuned
    if tuned is None:
        return UNKNOWN, NOT_TESTED, {}
    numbers = {"score": tuned.score, "status": tuned.status, "delta": tuned.delta, "delta_ci": tuned.delta_ci}
    words = f"{named(tuned)} scores {tuned.score:.3f}; {_difference(tuned)}"
    if not tuned.eligible:
        return FAIL, f"{words}; it may not be used: {tuned.violated or tuned.reason}", numbers
    status, overlaps, _ = dataset_contamination(evidence)
    if status is not PASS and "dataset_contamination" not in evidence.waivers:
        return UNKNOWN, f"{words}; but what it was trained on may give test cases away: {overlaps}", numbers
    if evidence.best == "classical":
        classical = evidence.rungs.get("classical")
        of = (
            f" ({named(classical)}, {classical.score:.3f})"
            if classical is not None and classical.score is not None
            else ""
        )
        return FAIL, f"{words}; no language model at all is at least as good{of}", numbers
    if (open_classical := _open_classical(evidence, tuned)) is not None:
        return UNKNOWN, f"{words}; {open_classical}", numbers
    if tuned.status == "adopted":
        return PASS, f"{words}: {tuned.reason}", numbers
    if evidence.best == "fine_tune" and tuned.delta_ci is not None and tuned.delta_ci[0] > -evidence.margin:
        return PASS, f"{words}: no worse by {evidence.margin:g}, and allowed where the best without is not", numbers
    return (FAIL if tuned.status == "no_gain" else UNKNOWN), f"{words}: {tuned.reason}", numbers


@gate("regressions", "to_ship")
def regressions(evidence: Evidence) -> Finding:
    """No regression set is worse: on each the tuned model is no worse than the base that was trained by more than the margin
    of the set. Held against any other model it shows nothing."""
    found = evidence.training
    usable = [one for one in found.regressions if not one.changed]
    numbers = {
        "sets": {one.name: {"status": one.status, "n": one.n, "margin": one.margin} for one in usable},
        "not_asked": list(found.sets_missing),
    }
    tuned = found.tuned
    if usable and (tuned is None or tuned.base is None or tuned.compared_base != tuned.base):
        other = tuned.compared_with if tuned else "another model"
        words = f"the regression sets were asked of {other}, not of the base that was trained"
        return UNKNOWN, f"{words}; run `tuneworthy export gguf --base`, then {RUN}", numbers
    failed = [one for one in usable if one.status == "fail"]
    open_ones = [one for one in usable if one.status not in {"pass", "fail"}]
    if failed:
        lost = "; ".join(f"{one.name}: {one.detail}" for one in failed)
        return FAIL, f"{lost}; more [train] rehearsal holds a model nearer to its base", numbers
    if found.sets_missing or not usable:
        sets = f" ({', '.join(found.sets_missing)})" if found.sets_missing else ""
        return (
            UNKNOWN,
            f"regression sets were not asked as they are now{sets}; run {RUN}",
            numbers,
        )
    if open_ones:
        return UNKNOWN, "; ".join(f"{one.name}: {one.detail}" for one in open_ones), numbers
    return PASS, "; ".join(f"{one.name}: {one.detail}" for one in usable), numbers


@gate("serving", "to_ship")
def serving(evidence: Evidence) -> Finding:
    """The engine that will answer users was started with this model, and gave its answers.

    The embedded llama.cpp is the engine that answered test, and `parity` asks the same file in it: that is a proof too,
    unless there is one of a server of this very model.
    """
    found = evidence.training
    proven = found.parity is not None and found.parity.status == "pass" and not found.parity.changed
    no_other = found.serving is None or bool(found.serving.changed)
    if no_other and proven and found.tuned and found.tuned.engine == "llama_cpp" and found.tuned.gguf:
        words = f"the embedded llama.cpp answered test with the file {found.tuned.gguf}, which parity compared in it"
        return PASS, words, {"engine": "llama_cpp", "artifact": found.tuned.gguf}
    return _proof(evidence.training.serving, "the tuned model was not served", "serve --engine vllm --check")


@gate("shadow", "to_ship")
def shadow(evidence: Evidence) -> Finding:
    """Real traffic was mirrored to the tuned model, and it did no worse."""
    words = (
        "no real traffic was mirrored to the tuned model; this version cannot do it yet: answer a copy of your traffic "
        "with both, compare, and say what you saw under `[[waivers]]`"
    )
    return UNKNOWN, words, {}


def _open_classical(evidence: Evidence, tuned: RungEvidence) -> str | None:
    """Say so if the best without training is no language model, and the tuned one is not shown to be better than it."""
    classical = evidence.rungs.get("classical")
    if classical is None or classical.score is None or not classical.eligible or tuned.score is None:
        return None
    if classical.score <= tuned.score - (tuned.delta or 0.0):
        return None
    if classical.compared_to == tuned.variant and classical.delta_ci is not None and classical.delta_ci[1] < 0:
        return None
    return f"it is not shown to be better than no language model at all ({named(classical)}, {classical.score:.3f})"


def _proof(found: ProofEvidence | None, missing: str, verb: str) -> Finding:
    if found is None:
        return UNKNOWN, f"{missing}; run `tuneworthy {verb}`", {}
    numbers = {**found.numbers, "changed": list(found.changed)}
    if found.changed:
        return UNKNOWN, f"{'; '.join(found.changed)}; run `tuneworthy {verb}`", numbers
    status = {"pass": PASS, "fail": FAIL}.get(found.status, UNKNOWN)
    return status, found.detail or found.status, numbers


def _difference(tuned: RungEvidence) -> str:
    """Say how far it is from the best upstream variant: `+0.210 (+0.100 to +0.310)`."""
    if tuned.delta is None or tuned.delta_ci is None:
        return "it was compared with nothing"
    low, high = tuned.delta_ci
    return f"{tuned.delta:+.3f} ({low:+.3f} to {high:+.3f}) to the best without training"

"""Rung `fine_tune`: the tuned models of this project with the prompt that they were trained with x decoding presets.

A tuned classifier is one candidate: it has a prompt, and nothing to decode.
"""

from collections.abc import Sequence
from dataclasses import replace

from tuneworthy.arrays import FloatPair
from tuneworthy.config.project import Project
from tuneworthy.decoding.engines import carried
from tuneworthy.decoding.presets import engine_for
from tuneworthy.errors import OutsideFault
from tuneworthy.graders.base import GradingContext
from tuneworthy.ladder import messages
from tuneworthy.ladder.own_models import (
    TunedModel,
    add_base,
    add_classifiers,
    add_tuned,
    config_of,
    missing,
    tuned_models,
)
from tuneworthy.ladder.rung import Proposal, Rung, View, rung
from tuneworthy.ladder.rung_details import TunedDetail
from tuneworthy.ladder.rungs.decoding import label, swept_setting
from tuneworthy.ladder.session import Session
from tuneworthy.providers.capabilities import filter_parameters
from tuneworthy.regressions.compare import RegressionResult, regression_result
from tuneworthy.regressions.sets import RegressionSet, regression_sets
from tuneworthy.store import Folder
from tuneworthy.store.artifacts import artifacts
from tuneworthy.types import JsonMapping, JsonObject, OutputFormat, Variant

GREEDY: JsonMapping = {"temperature": 0.0}


@rung("fine_tune")
class FineTuneRung(Rung):
    """Each tuned model with its adopted sweep settings, greedy, greedy and constrained, and with those of [decoding].

    The first of these, of the newest model, is preregistered; a classifier that was made after all models comes first.
    """

    async def propose(self, view: View) -> Proposal:
        opened, faults = add_tuned(view.models, view.project)
        classifiers = add_classifiers(view.models, Folder(view.project.root))
        if not opened and not classifiers:
            return Proposal(
                skipped=f"no fine-tuned model is available: {'; '.join(faults) or missing(view.project)}",
                skip_code="no_tuned_model",
                notes=faults,
            )
        candidates: dict[str, Variant] = {}
        notes = list(faults)
        for tuned in opened:
            variants, dropped = _variants(view, tuned, several=len(opened) > 1)
            candidates |= {variant.id: variant for variant in variants}
            notes += dropped
        tuned_classifiers = [
            Variant(
                name=f"fine_tune/{name}",
                model=name,
                model_identity=view.models[name].provider.identity,
                system=None,
                user=(made.about.prompt or {}).get("user", ""),
                max_tokens=1,
            )
            for name, made in classifiers.items()
        ]
        newest = max((one.created for one in artifacts(Folder(view.project.root), "gguf")), default="")
        newer = [one.created > newest for one in classifiers.values()]
        return Proposal(
            candidates=(
                [*tuned_classifiers, *candidates.values()] if any(newer) else [*candidates.values(), *tuned_classifiers]
            ),
            notes=notes,
            more_calls={
                one.name: 2 * sum(len(one.cases) for one in regression_sets(view.project)) for one in opened[:1]
            },
        )

    async def after_test(self, view: View, winner: Variant) -> TunedDetail:
        session = view.session
        if (classifier := add_classifiers(session.models, session.folder).get(winner.model)) is not None:
            return TunedDetail(engine="numpy", classifier=classifier.id, dataset=classifier.about.dataset)
        tuned = next((one for one in tuned_models(session.project) if one.name == winner.model), None)
        if tuned is None or tuned.artifact != winner.model_identity.get("artifact", tuned.artifact):
            raise OutsideFault(
                "models.{model} no longer serves the model compared on the test set. It now serves {now}.".format(
                    model=winner.model, now=tuned.artifact if tuned is not None else "none of this project's models"
                ),
                hint="Run `tuneworthy serve --what gguf` to start it, then run `tuneworthy run` again.",
            )
        base, title, compared_base = add_base(session.models, session.project, tuned)
        context = GradingContext(root=session.project.root, asker=session.asker, seed=session.project.split.seed)
        return replace(
            tuned.detail,
            compared_with=title,
            compared_base=compared_base,
            regressions=await guard(session, base, tuned.name, regression_sets(session.project, context)),
        )


def _variants(view: View, tuned: TunedModel, *, several: bool) -> tuple[list[Variant], list[str]]:
    provider = view.models[tuned.name].provider
    start = replace(trained_with(view.project, tuned), model_identity=provider.identity)
    kind = f"{tuned.name.partition(':')[2]}-" if several else ""
    variants, notes = [], []
    capabilities = view.models[tuned.name].capabilities
    for setting, decoding, output in [*swept(view, start), *presets(view, tuned)]:
        dropped = filter_parameters(capabilities, decoding)[1] if capabilities else ()
        if output.kind not in {"free", *provider.supports}:
            dropped = (*dropped, f"{output.kind}: not accepted")
        if dropped:
            notes.append(messages.say("not_accepted", model=tuned.name, what=", ".join(dropped)))
            continue
        variants.append(
            replace(
                start, name=f"fine_tune/{kind}{setting}", decoding=decoding, output=output, notes=(tuned.name, setting)
            )
        )
    return variants, notes


def trained_with(project: Project, tuned: TunedModel) -> Variant:
    """Return a tuned model with the prompt that it was trained with; by default the project's."""
    system, user = tuned.prompt.get("system", project.student_system), tuned.prompt.get("user")
    own = {"user": user} if user else {}
    return project.variant("fine_tune", tuned.name, {}, system=system, decoding={}, **own)


# Words for it, parameters, constraint.
Setting = tuple[str, JsonObject, OutputFormat]


def swept(view: View, start: Variant) -> list[Setting]:
    folder, structured = Folder(view.project.root), view.task.structured
    outputs = {"": OutputFormat()} | ({f"+{structured.kind}": structured} if structured.kind != "free" else {})
    settings = {suffix: swept_setting(folder, replace(start, output=output)) for suffix, output in outputs.items()}
    return [(label(one) + suffix, one, outputs[suffix]) for suffix, one in settings.items() if one is not None]


def presets(view: View, tuned: TunedModel) -> list[Setting]:
    """Return the decoding presets of a tuned model, greedy first.

    The project's own decoding is the grid of [decoding], and that of the best variant so far: its engine's defaults
    are set explicitly if the engine of the tuned model has others.
    """
    settings = [("greedy", dict(GREEDY), OutputFormat())]
    if (structured := view.task.structured).kind != "free":
        settings.append((f"greedy+{structured.kind}", dict(GREEDY), structured))
    own = [dict(one) for one in view.project.decoding.grid or ()]
    if view.best is not None and view.best.decoding:
        own.append(
            carried(
                view.best.decoding,
                engine_for(config_of(view.project, view.best.model).provider),
                engine_for(tuned.detail.engine),
            )
        )
    for decoding in own:
        if all(decoding != other for _, other, _ in settings):
            settings.append((label(decoding), decoding, OutputFormat()))
    return settings


async def guard(session: Session, base: str, tuned: str, sets: Sequence[RegressionSet]) -> list[RegressionResult]:
    """Return the results of the tuned model by regression set.

    Args:
        session: The opened project.
        base: Name of the untuned model.
        tuned: Name of the tuned one.
        sets: The regression sets.
    """
    return [
        regression_result(
            one.name, one.hash, await _score(session, base, one), await _score(session, tuned, one), one.margin
        )
        for one in sets
    ]


async def _score(session: Session, model: str, one: RegressionSet) -> FloatPair:
    variant = Variant(
        name=f"guard/{one.name} {model}",
        model=model,
        model_identity=session.models[model].provider.identity,
        system=one.system,
        user="{{ input }}",
        decoding={"temperature": 0.0},
        max_tokens=one.max_tokens,
    )
    num, den, _ = await session.score(await session.ask(variant, one.cases), one.cases, grader=one.grader)
    return num, den

"""The teacher of `[teacher]`, resolved: a model with the project's prompt, or a variant of the ladder as it is."""

from dataclasses import replace

from tuneworthy.config.project import FILE_NAME
from tuneworthy.config.teacher import Teacher
from tuneworthy.dataset.distill.run import Teaching, check_terms
from tuneworthy.errors import UserError
from tuneworthy.ladder import messages
from tuneworthy.ladder.cascade import large_of
from tuneworthy.ladder.distillation import teachers_of_model
from tuneworthy.ladder.own_models import CLASSIFIER, PREFIX, tuned_models
from tuneworthy.ladder.session import Session
from tuneworthy.ladder.variant_lookup import current, resolve
from tuneworthy.types import Variant, canonical


def teaching_of(session: Session) -> Teaching:
    """Return the teacher, opened, with the data and the budget of `session`.

    Raises:
        UserError: There is no `[teacher]`, its terms are open or forbid training, or it cannot be resolved.
    """
    project = session.project
    if project.teacher is None:
        raise UserError(
            "The project file has no [teacher] section.",
            hint='Add one with `model = "..."`, or with `variant = "best"` for prompt distillation.',
        )
    variant = _variant(session, project.teacher)
    return Teaching(
        variant=variant,
        model=session.models[variant.model],
        grader=session.primary,
        kind=session.split.kind,
        cases=[*session.data.cases, *session.split.drawn_dev],
        pool=session.pool,
        student_system=project.student_system,
        runner=session.runner,
    )


def _variant(session: Session, teacher: Teacher) -> Variant:
    if teacher.model is not None:
        _check(session, teacher, teacher.model)
        found = replace(
            current(session),
            name=f"teacher/{teacher.model}",
            model=teacher.model,
            model_identity=session.models[teacher.model].provider.identity,
        )
    else:
        name = teacher.variant or "best"
        found = large_of(
            resolve(
                session,
                str(session.project.path(name))
                if name.endswith(".json") or (session.project.root / name / FILE_NAME).is_file()
                else name,
            )
        )
        _check(session, teacher, found.model)
        if name in {"best", "fine_tune"} and (taught := teachers_of_model(session, found.model)):
            raise UserError(
                f"The variant {name} is now the student: {found.name} learned from {taught[0].variant}.",
                hint="Name the teacher in teacher.variant: its rung, its ID, or a file of `tuneworthy export variant`.",
            )
        if canonical(dict(found.model_identity)) != session.models[found.model].identity:
            raise UserError(
                f"models.{found.model} is no longer the model that {found.name} was measured with.",
                hint=messages.say("run_ladder_again"),
            )
    return replace(found, by_tag={}, decoding={**found.decoding, **teacher.parameters})


def _check(session: Session, teacher: Teacher, name: str) -> None:
    """Check that the model may teach.

    Raises:
        UserError: It is a classical baseline, it is gone, or its terms are open or forbid it.
    """
    if name.startswith(PREFIX):
        raise UserError(
            "The classical baseline cannot be the teacher, because it was trained on the project's examples.",
            hint='Choose a different variant, such as `variant = "few_shot"`.',
        )
    configs = {one.name: one.config for one in tuned_models(session.project)} | session.project.models
    if name not in configs and not name.startswith(CLASSIFIER):
        raise UserError(
            f"The teacher's model {name!r} is no longer available.",
            hint="Add the model to [models] again, or choose a different variant.",
        )
    if name in configs:
        check_terms(teacher, name, configs[name])

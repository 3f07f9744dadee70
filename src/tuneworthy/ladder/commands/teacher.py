"""The teacher of `[teacher]`, resolved: a model with the project's prompt, or a variant of the ladder as it is."""

from dataclasses import replace

from tuneworthy.config.teacher import Teacher
from tuneworthy.dataset.distill.run import Teaching, check_terms
from tuneworthy.errors import UserError
from tuneworthy.ladder import messages
from tuneworthy.ladder.cascade import large_of
from tuneworthy.ladder.classical_models import IN_PROCESS
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
        found = large_of(resolve(session, teacher.variant or "best"))
        _check(session, teacher, found.model)
        if canonical(dict(found.model_identity)) != session.models[found.model].identity:
            raise UserError(
                f"models.{found.model} is no longer the model that {found.name} was measured with.",
                hint=messages.say("run_ladder_again"),
            )
    return replace(found, decoding={**found.decoding, **teacher.parameters})


def _check(session: Session, teacher: Teacher, name: str) -> None:
    """Check that the model may teach.

    Raises:
        UserError: It is a classical baseline, it is gone, or its terms are open or forbid it.
    """
    if name.startswith(IN_PROCESS):
        raise UserError(
            "The classical baseline cannot be the teacher, because it was trained on the project's examples.",
            hint='Choose a different variant, such as `variant = "few_shot"`.',
        )
    config = session.project.models.get(name)
    if config is None:
        raise UserError(
            f"The teacher's model {name!r} is no longer in [models].", hint="Add the model to [models] again."
        )
    check_terms(teacher, name, config)

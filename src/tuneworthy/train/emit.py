"""Training run for another trainer: a script or config from a template, and rows as token ids and labels.

Every trainer here takes rows of `input_ids`, `attention_mask` and `labels` unchanged, so no trainer renders, masks or
cuts a row again. Each value enters a file as a literal of its language (`repr`, YAML), never as source.

Source: trl 1.16.0, SFTTrainer._prepare_dataset; unsloth-zoo, sft_prepare_dataset; docs.axolotl.ai, "Custom
Pre-Tokenized Dataset".
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files

import orjson

from tuneworthy.errors import UnknownName, UserError
from tuneworthy.train.plan import Planned
from tuneworthy.train.render import TokenRow
from tuneworthy.train.settings import TrainingSettings, divisors
from tuneworthy.types import JsonObject, NamedTexts, Texts

# File of the rows.
ROWS = "rows.jsonl"
# File for `accelerate launch`, after TRL's accelerate_configs/fsdp2.yaml.
FSDP2 = "fsdp2.yaml"
_FSDP2: JsonObject = {
    "compute_environment": "LOCAL_MACHINE",
    "debug": False,
    "distributed_type": "FSDP",
    "fsdp_config": {
        "fsdp_activation_checkpointing": False,
        "fsdp_auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
        "fsdp_cpu_ram_efficient_loading": True,
        "fsdp_offload_params": False,
        "fsdp_reshard_after_forward": True,
        "fsdp_state_dict_type": "FULL_STATE_DICT",
        "fsdp_version": 2,
    },
    "num_machines": 1,
    "use_cpu": False,
}
_STOPS = "stops early on the loss or after a fixed number of epochs, not on the task metric."


@dataclass(frozen=True, slots=True)
class TrainerFormat:
    """A trainer: the file of its template and run, the command that starts it, and differences from `train`."""

    file: str
    command: Texts
    notes: Texts


FORMATS = {
    "trl": TrainerFormat("train_trl.py", ("python", "train_trl.py"), (f"TRL {_STOPS}",)),
    "unsloth": TrainerFormat(
        "train_unsloth.py", ("python", "train_unsloth.py"), ("Unsloth needs a GPU.", f"Its TRL {_STOPS}")
    ),
    "axolotl": TrainerFormat("axolotl.yaml", ("axolotl", "train", "axolotl.yaml"), (f"Axolotl {_STOPS}",)),
}


@dataclass(frozen=True, slots=True)
class Emitted:
    """Files of a run, by name; the first is the main file."""

    files: NamedTexts
    command: Texts
    notes: Texts

    @property
    def main(self) -> str:
        return next(iter(self.files.values()))


def emit(form: str, settings: TrainingSettings, base: str, rows: str = ROWS) -> Emitted:
    """Write a run for the trainer `form`.

    Args:
        form: Key of `FORMATS`.
        settings: Settings of the run.
        base: Name or folder of the model.
        rows: File of the rows.

    Raises:
        UserError: There is no such format (`UnknownName`), or it cannot train all weights.
    """
    import yaml
    from jinja2 import Environment, StrictUndefined

    if form not in FORMATS:
        raise UnknownName("format", form, list(FORMATS))
    if form == "unsloth" and settings.method == "full":
        raise UserError("The Unsloth script trains adapters only, not all weights.", hint="Pass --emit trl.")
    form_, targets = FORMATS[form], settings.to_dict()["target_modules"]

    environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False)
    environment.filters |= {
        "py": repr,
        "yaml": lambda value: yaml.safe_dump([value], default_flow_style=True, allow_unicode=True, width=2**31)[1:-2],
    }
    template = files(__package__).joinpath("templates", f"{form_.file}.jinja").read_text(encoding="utf-8")
    text = environment.from_string(template).render(s=settings, base=base, rows=rows, targets=targets) + "\n"
    pins = text.partition("\n")[0].removeprefix("# written for ").split(", ")
    made, notes = {form_.file: text, "requirements.txt": "\n".join(pins) + "\n"}, [*form_.notes]
    if form == "trl" and settings.method != "qlora" and (counts := divisors(settings.batch_size)[1:]):
        precision = {"bfloat16": "bf16", "float16": "fp16"}.get(settings.dtype, "no")
        made[FSDP2] = yaml.safe_dump({**_FSDP2, "mixed_precision": precision, "num_processes": counts[0]})
        notes.append(
            f"To shard the model over N GPUs, run `accelerate launch --config_file {FSDP2} --num_processes N "
            f"{form_.file}`, where N is one of {', '.join(map(str, counts))}."
        )
    return Emitted(made, form_.command, notes)


def emit_planned(planned: Planned, form: str) -> Emitted:
    """Write a plan for the trainer `form`; its rows are `row_lines(rows_of(planned))`.

    Raises:
        UserError: As `rows_of`, or the trainer cannot train as planned.
    """
    rows = rows_of(planned)
    made = emit(form, planned.advice.settings, str(planned.folder))
    notes = [*made.notes, f"The {len(rows)} rows are the same as for `tuneworthy train`."]
    if planned.rehearsal is None:
        notes.append("They do not include rehearsal rows, which only `train` generates.")
    if planned.rows.dataset is None:
        notes.append(
            "No dataset is frozen yet, so the rows have not passed the data gates. Rows that are in dev or "
            "overlap with cases are left out."
        )
    elif not planned.material.gated:
        notes.append(f"Version {planned.rows.dataset} of the dataset was frozen with failed gates.")
    return Emitted(made.files, made.command, notes)


def rows_of(planned: Planned) -> Sequence[TokenRow]:
    """Return the rows of a plan, with those that the base generated last.

    Raises:
        UserError: The base is not a folder that other trainers load, its tokenizer is missing, or no script trains by
            the method.
    """
    if (method := planned.advice.settings.method) in {"preference", "continued"}:
        raise UserError(
            f"There is no script of another trainer for the method {method}.",
            hint="Run `tuneworthy train`. For pairs, `tuneworthy data export --format preference` writes the rows of "
            "TRL's DPOTrainer.",
        )
    if planned.folder is None:
        raise UserError(
            f"{planned.base} is a GGUF file, which other trainers cannot load.",
            hint="Run `tuneworthy train` once to convert the file to a model folder, or name a folder in [train] base.",
        )
    if planned.rendered is None:
        raise UserError(
            f"Rendering the rows needs the package transformers and the file {planned.folder}/tokenizer.json.",
            hint='Add the file if it is missing, and run `pip install "tuneworthy[train]"`.',
        )
    return [*planned.rendered.rows, *(planned.rehearsal or ())]


def row_lines(rows: Iterable[TokenRow]) -> Iterator[bytes]:
    """Return a line of JSON per row: `input_ids`, `attention_mask`, `labels` (-100 where nothing is supervised)."""
    return (
        orjson.dumps(
            {"input_ids": row.ids, "attention_mask": [1] * len(row.ids), "labels": row.labels},
            option=orjson.OPT_APPEND_NEWLINE,
        )
        for row in rows
    )

"""`tuneworthy plan`."""

import re
from collections.abc import Sequence
from pathlib import Path

import click

from tuneworthy.cli.options import PATH, json_option, note, print_result, project_option, say, writing_to
from tuneworthy.cli.tables import show_tables
from tuneworthy.config import load
from tuneworthy.errors import UserError
from tuneworthy.report.text import Column, Table, clean, integer, name_column, text_column
from tuneworthy.rules import Finding
from tuneworthy.store import Folder, write_atomic
from tuneworthy.text import count
from tuneworthy.train.advise import Knob, MachinePlan
from tuneworthy.train.classifier_plan import ClassifierPlan, plan_classifier
from tuneworthy.train.emit import FORMATS, ROWS, Emitted, emit_planned, row_lines, rows_of
from tuneworthy.train.gpus import GIB
from tuneworthy.train.lints import LINTS
from tuneworthy.train.memory import MemoryFit
from tuneworthy.train.plan import Planned, plan_project
from tuneworthy.train.render import REASONS
from tuneworthy.train.settings_table import SettingsTable, read_settings
from tuneworthy.trust import own_path
from tuneworthy.types import Paths, Texts
from tuneworthy.verdict.training_method import full_offer, planned_method

PROCESSES = """\
For `train --processes N`. GiB: upper end of the estimate; processes without CUDA
share the machine's memory."""
MACHINES = """\
GiB: memory for a served model. Trains: by the upper end of the memory estimate;
without CUDA on the processor, in 32 bits. Serves: the widest form that fits, by
llama.cpp, on a Mac also by MLX; not run here. Tokens/s: an upper bound for one
request (memory bandwidth over weights), no measurement. Sources: --json."""


def _size(context: click.Context, option: click.Parameter, value: str | None) -> float | None:
    """Return an amount of memory, `24GiB`, `24GB` or a number of GiB, in GiB."""
    if value is None:
        return None
    found = re.fullmatch(r"(\d{1,6}(?:\.\d+)?) ?(gib|gb|g)?", value.strip().lower())
    if found is None or not float(found[1]):
        raise click.BadParameter(f"{value} is not a valid size. Use a form such as 24GiB.", context, option)
    return float(found[1]) * (1e9 / 2**30 if found[2] == "gb" else 1)


@click.command("plan")
@click.option(
    "--gpu-memory",
    callback=_size,
    metavar="SIZE",
    help="GPU memory to plan for, such as 24GiB (default: this machine's).",
)
@click.option("--emit", "form", type=click.Choice(list(FORMATS)), help="Trainer to write the run for.")
@click.option(
    "--lint",
    "configs",
    multiple=True,
    type=PATH,
    help="Table of settings to check instead; repeatable.",
)
@project_option
@json_option
def command(gpu_memory: float | None, form: str | None, configs: Paths, root: Path) -> int:
    """Plan a training run, with reasons and memory.

    Names the method that the last verdict advises, with its reason. Shows each setting with its reason and source,
    findings about the settings, and whether the run fits into memory. Where an adapter was compared on test and missed
    the target, offers full fine-tuning if that fits. With --emit, writes the script or config of another trainer into
    the folder train-TRAINER, with the rows that `train` uses, as token IDs with prompt and mask. These rows exclude
    dev, overlaps with cases, held-out rows and rows that are too long.

    With --lint, checks a TOML or JSON file with one training setting per key, such as PEFT's adapter_config.json,
    instead. This needs no project. The exit status is 3 if the run does not fit or a file has an error.

    \b
    Example:
      tuneworthy plan --gpu-memory 24GiB --emit trl
      tuneworthy plan --lint adapter_config.json
    """
    if configs:
        findings = [(path, finding) for path in configs for finding in LINTS.run(read_settings(path))]
        print_result(
            {"findings": [{"path": str(path), **_row(finding)} for path, finding in findings]}, _show_findings, findings
        )
        return 3 if any(finding.severity == "error" for _, finding in findings) else 0
    project = load(root)
    advised = planned_method(project)
    if project.train.method == "classifier":
        if form:
            raise UserError("`plan` writes no script for a classifier.", hint="Run `tuneworthy train`.")
        classifier = plan_classifier(project, Folder(project.root), unsafe=True, fetch=False)
        document = {**classifier.to_dict(), "advised_method": advised}
        print_result(document, _show_classifier, classifier, advised.sentence)
        return 0
    planned = plan_project(project, gpu_memory)
    offer = full_offer(project, planned, gpu_memory)
    out = own_path(Path(), f"train-{form}")
    emitted = _emit(planned, form, out) if form else None
    files = emitted and {"files": emitted.files, "command": list(emitted.command), "notes": list(emitted.notes)}
    found = LINTS.run(SettingsTable.of_run(planned.advice.settings, planned.base))
    document = {
        **planned.to_dict(), "emitted": files, "offer": offer or None, "advised_method": advised,
        "findings": [_row(finding) for finding in found],
    }  # fmt: skip
    lines = [f"{finding.severity} {finding.rule}: {finding.message} {finding.fix}" for finding in found]
    print_result(document, _show, planned, emitted, out, [*lines, advised.sentence, offer])
    return 3 if planned.advice.memory.fit == "does not fit" else 0


def _emit(planned: Planned, form: str, out: Path) -> Emitted | None:
    if planned.advice.memory.fit == "does not fit":
        note("No file was written, because training does not fit into memory.")
        return None
    made = emit_planned(planned, form)
    with writing_to(out):
        for name, text in made.files.items():
            write_atomic(out / name, text.encode())
        write_atomic(out / ROWS, row_lines(rows_of(planned)))
    return made


def _row(finding: Finding) -> dict[str, str | None]:
    return {
        "code": finding.rule, "severity": finding.severity, "message": finding.message, "fix": finding.fix,
        "source": finding.source,
    }  # fmt: skip


def _show_findings(findings: Sequence[tuple[Path, Finding]]) -> None:
    for path, finding in findings:
        say(f"{clean(str(path))}: {finding.severity} {finding.rule}: {clean(finding.message)}")
        say(f"    {clean(finding.fix)} [{finding.source}]")
    say(f"Findings: {len(findings)}.")


def _settings(knobs: Sequence[Knob]) -> Table:
    columns = [
        name_column("name", "setting"),
        Column("value", "value", lambda value: f"{value:g}" if isinstance(value, float) else str(value)),
        text_column("reason", "why", most=0),
        text_column("source", "source", most=0),
    ]
    return Table.of("Settings", columns, knobs)


def _processes(rows: Sequence[MemoryFit]) -> Table:
    columns = [
        Column("settings.processes", "processes", integer),
        Column("settings.micro_batch_size", "rows at once", integer),
        Column("settings.accumulation", "passes a step", integer),
        Column("estimate.high", "GiB", lambda n_bytes: f"{n_bytes / GIB:.1f}"),
        text_column("fit", "fit"),
    ]
    return Table.of("Memory of each device by number of processes", columns, rows, PROCESSES)


def _machines(rows: Sequence[MachinePlan]) -> Table:
    columns = [
        name_column("machine", "machine"),
        Column("usable_gib", "GiB", lambda gib: f"{gib:.1f}"),
        text_column("trains", "trains", lambda row: ", ".join(row.trains) or "no method"),
        text_column("serves", "serves", lambda row: row.serves or "too small"),
        Column("most_tokens_per_s", "tokens/s below", integer),
    ]
    return Table.of("Machines that people own", columns, rows, MACHINES)


def _show_classifier(planned: ClassifierPlan, advised: str) -> None:
    rows = planned.to_dict()["rows"]
    say(
        f"{planned.encoder.spec}: BERT encoder, {planned.encoder.n_params / 1000000.0:.1f}M parameters, all "
        f"of them trained with a head for {len(planned.labels)} labels\n{rows['n_rows']} rows, "
        f"{rows['n_tokens']} word pieces. Weights, gradients and optimiser take "
        f"{planned.to_dict()['memory_bytes'] / 2**30:.2f} GiB in float32."
    )
    show_tables([_settings(planned.knobs)])
    say(*filter(None, [*planned.material.notes, advised]))
    note("Next: tuneworthy train")


def _show(planned: Planned, emitted: Emitted | None, folder: Path, more: Texts) -> None:
    shape, memory = planned.shape, planned.advice.memory
    say(f"{planned.base}: {shape.architecture}, {shape.n_params / 1e9:.3f}B parameters, {shape.n_layers} layers")
    rows = planned.rows
    say(f"{rows.n_rows} rows, {rows.n_tokens} tokens, {rows.n_supervised} of them supervised")
    for reason, n in planned.left_out.items():
        say(f"dropped: {count(n, 'row')} ({REASONS[reason]})")
    columns = [
        name_column("name", "part"),
        Column("n_bytes", "GiB", lambda n_bytes: f"{n_bytes / 2**30:.2f}"),
        text_column("why", "what it is", most=0),
    ]
    show_tables([_settings(planned.advice.knobs), Table.of("Memory at the peak", columns, memory.estimate.parts)])
    low, high = memory.estimate.low / 2**30, memory.estimate.high / 2**30
    where = "GPU" if planned.device == "cuda" else "machine"
    say(f"{memory.fit}: {low:.1f} to {high:.1f} GiB of {memory.available / 2**30:.1f} GiB on this {where}")
    for line in memory.instead:
        say(f"  would fit: {line}" if not line.startswith("nothing") else f"  {line}")
    show_tables([_processes(planned.advice.processes), _machines(planned.advice.machines)])
    for duration in planned.durations:
        say(f"One epoch: {duration}")
    say(*filter(None, [*planned.advice.notes, *more]))
    if emitted is None:
        note(*["Next: tuneworthy train"] * (memory.fit != "does not fit"))
        return
    say("\n" + f"Wrote these files to {folder}: {', '.join([*emitted.files, ROWS])}")
    note(f"To start training, run this in that folder: {' '.join(emitted.command)}", *emitted.notes)

"""One job at a vendor: rows, upload, start, wait, the tuned model. It goes on where it was killed.

    .tuneworthy/models/<run>/tuneworthy-<run>.jsonl   what is uploaded
                             job.json                 how far the job is, written before and after each step

A run is named by all that it is made of, and file and job carry that name at the vendor. Invariant: nothing is uploaded
or started before the vendor's own list was read for that name, so nothing is paid for twice, whatever was lost on the
way.
"""

import asyncio
import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import ceil
from typing import Any, Final, Literal

import orjson

from tuneworthy.config.project import Project
from tuneworthy.config.teacher import PersonalData
from tuneworthy.dataset.checks.personal_data import masking
from tuneworthy.dataset.distill.teacher import terms_of
from tuneworthy.dataset.freeze import find_version
from tuneworthy.dataset.writers import openai_row
from tuneworthy.errors import OutsideFault, ProviderError, UserError
from tuneworthy.providers.keys import read_key
from tuneworthy.store import Folder, write_atomic
from tuneworthy.store.artifacts import Artifact, write_artifact
from tuneworthy.store.shapes import OpenRecord
from tuneworthy.train import messages
from tuneworthy.train.hosted.api import JobsApi
from tuneworthy.train.hosted.vendors import at, vendors
from tuneworthy.train.training_rows import Material, gather
from tuneworthy.types import Example, content_hash

Say = Callable[[str], None]
# The content of `job.json`.
Record = dict[str, Any]
EPOCHS: Final = 3
# Between two looks at a job, seconds: the first, and the longest.
FIRST_WAIT_S: Final = 5.0
LONGEST_WAIT_S: Final = 60.0
# How often a list is read that may not show yet what was started a moment ago.
LOOKS: Final = 3
# Of a reason that a vendor gives.
MOST_CHARACTERS: Final = 400
# Codes of failures that are the vendor's own.
_THEIRS: Final = frozenset({"server_error", "internal_error", "INTERNAL", "UNAVAILABLE", "UNKNOWN"})


@dataclass(frozen=True, slots=True)
class JobRequest:
    """What a person asks for.

    Attributes:
        vendor: Of the table.
        base: Model to train, as the vendor calls it; None only where a job goes on or is cancelled.
        usd_per_mtok: Price of training; that of the table if None.
        personal_data: What becomes of it in the rows.
        unsafe: Whether to take rows that are not gated.
    """

    vendor: str
    base: str | None
    usd_per_mtok: float | None
    personal_data: PersonalData
    unsafe: bool


class JobRecord(OpenRecord):
    """What `job.json` must hold."""

    vendor: str
    run: str
    state: str
    trying: str
    file: str | None
    job: str | None


def save(store: Folder, record: Record, **changes: Any) -> None:
    """Change a record, here and on disk."""
    record.update(changes)
    store.write(_name(record["run"]), record)


def records(store: Folder) -> list[Record]:
    """Return the jobs of a project."""
    runs = sorted(path.parent.name for path in (store.path / "models").glob("*/job.json"))
    return [dict(record) for run in runs if (record := store.read(_name(run), JobRecord)) is not None]


def open_job(store: Folder, vendor: str) -> Record | None:
    """Return the job of a vendor that was started, or may have been, and has no end yet."""
    return next((one for one in records(store) if one["vendor"] == vendor and not one["state"] and _started(one)), None)


def paid_usd(store: Folder) -> float:
    """Return what the jobs of a project cost, as far as they were started, US dollars."""
    return float(sum(one["usd_before"] + (one["usd"] if _started(one) else 0.0) for one in records(store)))


def prepare_job(project: Project, store: Folder, request: JobRequest, say: Say) -> Record:
    """Write the rows of a job and return its record; that of an earlier one if it is the same.

    Args:
        project: The project.
        store: Its folder; the caller holds the lock.
        request: What is trained, and how.
        say: Gets what a person should know.

    Raises:
        UserError: No model is named, nothing may be sent out, the price is unknown, or the rows are too few or too
            many.
        GateFailed: The data did not pass its gates.
    """
    vendor, base = vendors()[request.vendor], request.base
    if project.train.method == "preference":
        raise UserError(messages.say("answers_only"), hint=messages.say("use_lora"))
    if base is None:
        raise UserError(
            f"No model to train at {vendor.title} is named.", hint="Pass --base MODEL, as the vendor names it."
        )
    if project.constraints.data_stays:
        raise UserError(
            f"constraints.data_stays is set, so no row may be sent to {vendor.title}.",
            hint="Run `tuneworthy train` without --on, or change the constraint.",
        )
    listed = vendor.price(base) or {"usd_per_mtok": None}
    price = listed["usd_per_mtok"] if request.usd_per_mtok is None else request.usd_per_mtok
    if price is None:
        raise UserError(
            f"The price of training {base} at {vendor.title} is unknown.",
            hint="Read it on the vendor's price page and pass --usd-per-mtok.",
        )
    material = gather(project, store, unsafe=request.unsafe, seed=project.train.seed, say=say, hold_out=False)
    lines = _lines(project, material, request.personal_data, say)
    content = b"".join(lines)
    if len(lines) < vendor.min_rows:
        raise UserError(
            f"{vendor.title} needs at least {vendor.min_rows} rows, but the data has {len(lines)}.",
            hint="Add rows and run `tuneworthy data build`.",
        )
    if len(content) > vendor.max_bytes:
        raise UserError(
            f"The rows exceed the largest file that {vendor.title} accepts ({vendor.max_bytes >> 20} MiB).",
            hint="Drop rows and run `tuneworthy data build`.",
        )
    version = find_version(store, material.dataset)
    terms, reason = terms_of(version.recipe) if version is not None else ("not_applicable", "")
    if terms != "not_applicable":
        say(f"A teacher wrote rows. Check that its terms allow training a model of {vendor.title} on them: {reason}.")
    made_of: Record = {
        "vendor": request.vendor,
        "base": base,
        "epochs": ceil(project.train.epochs or EPOCHS),
        "seed": project.train.seed,
        "sha256": hashlib.sha256(content).hexdigest(),
        "prompt": material.student.document(),
    }
    run = content_hash(made_of)
    write_atomic(store.path / "models" / run / f"tuneworthy-{run}.jsonl", content)
    new = {"state": "", "trying": "", "attempt": 1, "file": None, "job": None, "model": None, "usd_before": 0.0}
    record: Record = dict(store.read(_name(run), JobRecord) or {**made_of, **new, "run": run})
    if record["state"] in {"failed", "cancelled"}:  # the same once more is another job
        paid = record["usd_before"] + record["usd"]
        record |= {"state": "", "job": None, "attempt": record["attempt"] + 1, "usd_before": paid}
    if not _started(record):
        record |= {
            "dataset": material.dataset,
            "gated": material.gated,
            "n_rows": len(lines),
            "n_bytes": len(content),
            "usd_per_mtok": price,
            "price": "--usd-per-mtok" if request.usd_per_mtok is not None else f"{listed['mark']}, {listed['source']}",
            "usd": len(content) * made_of["epochs"] * price / 1e6,  # a token stands for a byte at least
            "account": os.environ.get(vendor.account, "").strip() if vendor.account else "",
        }
    save(store, record)
    return record


def _lines(project: Project, material: Material, personal_data: PersonalData, say: Say) -> list[bytes]:
    """Return the rows in OpenAI's format, a line each, as they may leave this machine."""
    lines, n_personal, mask = [], 0, masking(project.data.pii_engine)
    for chat in map(material.student.row, material.train):
        row = Example(messages=chat.messages, id=chat.id, meta={"tools": list(chat.tools)} if chat.tools else {})
        masked = row if personal_data == "send" else mask(row)
        n_personal += masked is not row
        if masked is row or personal_data == "mask":
            lines.append(orjson.dumps(openai_row(masked), option=orjson.OPT_APPEND_NEWLINE))
    if n_personal:
        say(
            f"Rows with personal data, which is masked before they are sent: {n_personal}."
            if personal_data == "mask"
            else f"Rows with personal data, which are not sent: {n_personal}."
        )
    return lines


def open_api(project: Project, record: Record) -> JobsApi:
    """Return the client of a job's vendor.

    Raises:
        AuthError: The key is missing.
        UserError: The account is missing.
    """
    vendor = vendors()[record["vendor"]]
    account = record["account"]
    if vendor.account and not account:
        raise UserError(
            f"{vendor.title} needs the ID of your account.",
            hint=f"Set it: `export {vendor.account}=...`.",
        )
    key = read_key(vendor.key, url=vendor.api, root=project.root, owner=f"train --on {record['vendor']}")
    return JobsApi(vendor, key, account)


async def run_job(store: Folder, record: Record, api: JobsApi, say: Say) -> Artifact:
    """Bring a job to its end and return the tuned model.

    Args:
        store: The project's folder; the caller holds the lock.
        record: Of the job.
        api: Of its vendor.
        say: Gets a sentence where something happens.

    Raises:
        UserError: The vendor refuses the file or the job, the job failed, or somebody cancelled it.
        OutsideFault: The vendor does not answer as it must; the same command goes on.
    """
    if record["job"] is None:
        await _start(store, record, api, say)
    if record["state"] != "succeeded":
        await _wait(store, record, api, say)
    return write_hosted(store, record)


async def cancel_job(store: Folder, record: Record, api: JobsApi) -> str:
    """End a job at its vendor, and return the state that it is in then; "" where none was started.

    Raises:
        UserError: The vendor refuses.
        OutsideFault: The vendor does not answer as it must.
    """
    vendor = api.vendor
    if record["job"] is None and not await _found(store, record, api):
        return ""
    row = await api.read(vendor.job, _values(record))
    if vendor.state(at(row, vendor.job["state"])) == "running":
        await api.post(vendor.job["cancel"], _values(record), {})
        row = await api.read(vendor.job, _values(record))
    state = str(at(row, vendor.job["state"]))
    if vendor.state(state) in {"failed", "cancelled"}:
        save(store, record, state="cancelled")
    return state


def write_hosted(store: Folder, record: Record) -> Artifact:
    """Write the tuned model of a job as an artifact: its name, and what it was made of."""
    about = {key: value for key, value in record.items() if key not in {"trying", "price"}}
    return write_artifact(
        store,
        "hosted",
        lambda folder: write_atomic(folder / "model.json", orjson.dumps(about, option=orjson.OPT_INDENT_2)),
        parent=None,
        about={**about, "answers": vendors()[record["vendor"]].answers},
    )


def _name(run: str) -> str:
    return f"models/{run}/job"


def _started(record: Record) -> bool:
    """Whether there is a job, or may be: it was sent, and no answer came."""
    return record["job"] is not None or record["trying"] == "job"


def _values(record: Record) -> dict[str, Any]:
    """Return the fields of the table's templates."""
    dataset = f"tuneworthy-{record['run']}"
    name = dataset if record["attempt"] == 1 else f"{dataset}-{record['attempt']}"
    return {**record, "dataset": dataset, "name": name, "n_rows": str(record["n_rows"])}


async def _look(record: Record, api: JobsApi, kind: Literal["file", "job"], name: str) -> Mapping[str, Any] | None:
    """Return our file or job from the vendor's list; look again where it was sent and no answer came."""
    listing = api.vendor.files if kind == "file" else api.vendor.jobs
    for look in range(LOOKS if record["trying"] == kind else 1):
        if look:
            await asyncio.sleep(FIRST_WAIT_S)
        if (row := await api.find(listing, name)) is not None:
            return row
    return None


async def _found(store: Folder, record: Record, api: JobsApi) -> bool:
    """Look for the job of a record, and note its id; without one, note that too."""
    row = await _look(record, api, "job", _values(record)["name"])
    trying = "" if record["trying"] == "job" else record["trying"]
    save(store, record, job=row["id"] if row else None, trying=trying)
    return row is not None


async def _start(store: Folder, record: Record, api: JobsApi, say: Say) -> None:
    """Upload and start what is not there yet."""
    vendor = api.vendor
    if await _found(store, record, api):
        return
    if record["file"] is None:
        save(store, record, file=await _file(store, record, api), trying="")
    try:
        row, state = await _settled(record, api, vendor.file, vendor.file["waits"], say)
        if state in vendor.file["fails"]:
            reason = str(at(row, vendor.file["error"]) or state)[:MOST_CHARACTERS].rstrip(".")
            raise UserError(
                f"{vendor.title} refuses the file {record['file']}: {reason}.",
                hint="Correct the rows and run `tuneworthy data build`.",
            )
        save(store, record, trying="job")
        row = await api.post(vendor.start["path"], _values(record), vendor.start["body"])
    except ProviderError as error:
        if not error.retryable:  # it was refused: there is no job, and the file may be gone
            save(store, record, trying="", file=None)
        raise
    save(store, record, job=api.id_of(row, vendor.jobs["id"]), trying="")
    say(f"{vendor.title} started the job {record['job']}.")


async def _file(store: Folder, record: Record, api: JobsApi) -> str:
    """Return the id of the rows at the vendor; upload them if they are not there."""
    vendor, values = api.vendor, _values(record)
    announce = vendor.announce
    row = await _look(record, api, "file", values["dataset"] + ("" if announce else ".jsonl"))
    if row is not None and (announce is None or at(row, announce["state"]) not in announce["unfinished"]):
        return str(row["id"])
    save(store, record, trying="file")
    if announce is not None and row is None:
        await api.post(announce["path"], values, announce["body"])
    folder = store.path / "models" / record["run"]
    return await api.upload(folder / f"{values['dataset']}.jsonl", values)


async def _settled(
    record: Record, api: JobsApi, place: Mapping[str, Any], waits: Sequence[str], say: Say
) -> tuple[Mapping[str, Any], str]:
    """Look at a file or a job until its state is not in `waits`; return it and the state."""
    shown, wait_s = "", FIRST_WAIT_S
    while True:
        row = await api.read(place, _values(record))
        state = str(at(row, place["state"]))
        if state != shown:
            what = record["job"] or record["file"]
            say(f"{datetime.now(UTC):%H:%M} {api.vendor.title}, {what}: {state[:80]}")
        if state not in waits:
            return row, state
        await asyncio.sleep(wait_s)
        shown, wait_s = state, min(1.5 * wait_s, LONGEST_WAIT_S)


async def _wait(store: Folder, record: Record, api: JobsApi, say: Say) -> None:
    """Look at a job until it ends, and note how."""
    vendor, where = api.vendor, {"vendor": api.vendor.title, "job": record["job"]}
    row, theirs = await _settled(record, api, vendor.job, vendor.states["running"], say)
    state = vendor.state(theirs)
    if state == "succeeded":
        if not (model := at(row, vendor.job["model"])):
            raise OutsideFault(messages.say("no_model_name", **where), hint=messages.say("vendor_resume"))
        n_tokens = at(row, vendor.job["tokens"])
        billed = n_tokens * record["usd_per_mtok"] / 1e6 if isinstance(n_tokens, int) else record["usd"]
        save(store, record, state=state, model=str(model), n_tokens=n_tokens, usd=billed)
        return
    if state is None:
        raise OutsideFault(
            messages.say("unknown_state", state=theirs[:80], **where),
            hint="Check the job on the vendor's page, then run the command again to resume.",
        )
    save(store, record, state=state)
    reason = str(at(row, vendor.job["error"]) or theirs)[:MOST_CHARACTERS].rstrip(".")
    if state == "failed" and at(row, vendor.job["error_code"]) in _THEIRS:
        raise OutsideFault(messages.say("job_failed", reason=reason, **where), hint=messages.say("start_again"))
    if state == "failed":
        raise UserError(
            messages.say("job_failed", reason=reason, **where),
            hint="Fix the reported problem. Running the command again then starts a new job, which is billed.",
        )
    raise UserError(messages.say("job_cancelled", **where), hint=messages.say("start_again"))

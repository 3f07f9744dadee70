"""The formats in which a dataset leaves: for other trainers, and for our own readers, which read all of them again.

A format that cannot hold a row leaves it out with the reason and never bends it. What no format but Parquet holds
(provenance, group, tags) stays with the frozen version; tools and their calls go along wherever the format has a place
for them. Files are written row by row and are whole or not there.

Sources: TRL docs/source/dataset_formats.md; LLaMA-Factory data/README.md and src/llamafactory/data/converter.py;
Axolotl docs/dataset-formats/conversation.qmd; OpenAI guide "Supervised fine-tuning".
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Final

import orjson

from tuneworthy.cases.formats.tool_calls import tools_of
from tuneworthy.cases.pairs import rejected_answer
from tuneworthy.cases.writer import write_rows
from tuneworthy.dataset import messages
from tuneworthy.errors import UserError
from tuneworthy.extras import require
from tuneworthy.registry import Registry
from tuneworthy.store import write_atomic
from tuneworthy.types import Example, Message

Convert = Callable[[Example], dict[str, Any]]


class CannotHold(Exception):
    """The format has no place for something in the row; the argument says for what."""


@dataclass(frozen=True, slots=True)
class Written:
    """The written files.

    Attributes:
        paths: The files, data first.
        n_rows: Rows written, by split.
        left_out: Why rows were left out, with counts.
        left_out_ids: Ids of those rows.
        notes: What a person should know about the format.
    """

    paths: tuple[Path, ...]
    n_rows: dict[str, int]
    left_out: dict[str, int] = field(default_factory=dict)
    left_out_ids: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Writer:
    """One format.

    Attributes:
        name: As given on the command line.
        tool_calls: What becomes of tools and their calls, in one sentence.
        suffix: Of the data files.
        convert: Converts a row to the format.
        also: Writes a file beside the data files, whose names by split it gets.
    """

    name: str
    tool_calls: str
    suffix: str = "jsonl"
    convert: Convert
    also: Callable[[Path, Mapping[str, str]], Path] | None = None


WRITERS: Registry[Writer] = Registry("export_formats", {})


def writers() -> dict[str, Writer]:
    """Return every format by its name."""
    return {name: WRITERS.get(name) for name in WRITERS}


def write_dataset(name: str, folder: Path, splits: Mapping[str, Iterable[Example]]) -> Written:
    """Write the splits of a dataset in the format `name`, a file each, into `folder`.

    Args:
        name: A format of `writers()`.
        folder: Made if need be.
        splits: Rows by the name of their split, e.g. `train`.

    Raises:
        UserError: No such format, or a split whose name is no file name.
    """
    writer = WRITERS.get(name)
    reasons: Counter[str] = Counter()
    ids: list[str] = []
    paths, n_rows = [], {}
    for split, rows in splits.items():
        if not split.isidentifier():
            raise UserError(
                f"{split!r} is not a valid split name. Use letters, digits and underscores, and do not start with "
                "a digit."
            )
        path = folder / f"{split}.{writer.suffix}"
        counter = _ConvertedRows(writer.convert, rows, reasons, ids)
        if writer.suffix == "parquet":
            _write_parquet(path, counter)
        else:
            write_rows(path, counter)
        paths.append(path)
        n_rows[split] = counter.n
    if writer.also is not None:
        paths.append(writer.also(folder, {split: f"{split}.{writer.suffix}" for split in splits}))
    return Written(tuple(paths), n_rows, dict(reasons), tuple(ids), (writer.tool_calls,))


class _ConvertedRows:
    def __init__(self, convert: Convert, rows: Iterable[Example], reasons: Counter[str], ids: list[str]) -> None:
        self.convert, self.rows, self.reasons, self.ids = convert, rows, reasons, ids
        self.n = 0

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for row in self.rows:
            try:
                converted = self.convert(row)
            except CannotHold as reason:
                self.reasons[str(reason)] += 1
                self.ids.append(row.id)
                continue
            self.n += 1
            yield converted


# --- chats as they are --------------------------------------------------------------------------------------------


def _tools(row: Example) -> list[dict[str, Any]]:
    return tools_of(row.meta["tools"]) if row.meta.get("tools") else []


def openai_row(row: Example) -> dict[str, Any]:
    """Return a row of OpenAI's fine-tuning format: messages, and the tools that could be called."""
    tools = _tools(row)
    return {"messages": list(row.messages), **({"tools": tools} if tools else {})}


def trl_row(row: Example) -> dict[str, Any]:
    """Return a row of TRL's conversational prompt-completion format: the loss is on the last message only.

    Arguments of calls are objects, as chat templates want them. Arrow gives all objects in a column one set of keys,
    so a program that loads such a file with `datasets` must drop keys that are null.
    """
    turns = [_with_objects(message) for message in row.messages]
    tools = _tools(row)
    return {"prompt": turns[:-1], "completion": turns[-1:], **({"tools": tools} if tools else {})}


def preference_row(row: Example) -> dict[str, Any]:
    """Return a row of TRL's conversational preference format: a prompt, the better and the worse answer.

    Raises:
        CannotHold: It is no pair, or its answer has further keys.
    """
    worse = rejected_answer(row)
    if not worse:
        raise CannotHold("a row without a worse answer")
    if row.messages[-1].keys() - {"role", "content", "tool_calls"}:
        raise CannotHold(messages.say("keys_without_place"))
    converted = trl_row(row)
    converted["chosen"], converted["rejected"] = converted.pop("completion"), [{"role": "assistant", "content": worse}]
    return converted


def _with_objects(message: Message) -> Message:
    if not message.get("tool_calls"):
        return message
    calls = [
        {**call, "function": {**call["function"], "arguments": orjson.loads(call["function"]["arguments"])}}
        for call in message["tool_calls"]
    ]
    return {**message, "tool_calls": calls}


# --- turns --------------------------------------------------------------------------------------------------------

_SPEAKERS: Final = {"system": "system", "user": "human", "assistant": "gpt", "tool": "observation"}


def sharegpt_row(row: Example) -> dict[str, Any]:
    """Return a row of ShareGPT: turns with `from` and `value`; calls are `function_call`, results `observation`.

    Raises:
        CannotHold: Text beside calls in one turn, or a turn of a developer or with reasoning.
    """
    turns: list[dict[str, Any]] = []
    n = 0
    open_ids: list[str] = []
    for message in row.messages:
        if message["role"] not in _SPEAKERS:
            raise CannotHold(f"a turn with the role {message['role']!r}")
        if message.get("reasoning_content"):
            raise CannotHold("a turn with reasoning")
        turn: dict[str, Any] = {"from": _SPEAKERS[message["role"]], "value": message["content"]}
        if calls := message.get("tool_calls"):
            if message["content"]:
                raise CannotHold("text and tool calls in the same turn")
            turn = {"from": "function_call", "value": _calls_text(calls, n)}
            n += len(calls)
            open_ids += [call["id"] for call in calls]
        elif message["role"] == "tool" and "tool_call_id" in message:
            if message["tool_call_id"] != (open_ids[0] if open_ids else None):
                turn["tool_call_id"] = message["tool_call_id"]
            if message["tool_call_id"] in open_ids:
                open_ids.remove(message["tool_call_id"])
        turns.append({**turn, **{key: message[key] for key in ("name", "weight") if key in message}})
    tools = [tool["function"] if set(tool) == {"type", "function"} else tool for tool in _tools(row)]
    return {"conversations": turns, **({"tools": orjson.dumps(tools).decode()} if tools else {})}


def _calls_text(calls: list[dict[str, Any]], n: int) -> str:
    """Return calls as JSON text; ids are kept where our reader would assign others."""
    out = []
    for i, call in enumerate(calls):
        function = call["function"]
        own_id = {} if call["id"] == f"call_{n + i}" else {"id": call["id"]}
        out.append({"name": function["name"], "arguments": orjson.loads(function["arguments"]), **own_id})
    return orjson.dumps(out[0] if len(out) == 1 else out).decode()


def llama_factory_row(row: Example) -> dict[str, Any]:
    """Return a row of ShareGPT as LLaMA-Factory takes it: people and results in turn with answers and calls.

    Raises:
        CannotHold: As ShareGPT, or turns that do not alternate (LLaMA-Factory skips such rows without an error).
    """
    converted = sharegpt_row(row)
    turns = converted["conversations"]
    speakers = [turn["from"] for turn in (turns[1:] if turns[0]["from"] == "system" else turns)]
    asks = [speaker in {"human", "observation"} for speaker in speakers]
    if "system" in speakers or asks != [i % 2 == 0 for i in range(len(asks))]:
        raise CannotHold(messages.say("not_alternating"))
    if any(message.get("weight") == 0 for message in row.messages):
        raise CannotHold("an answer with weight 0, which must not be trained on")
    return {"tools": "", **converted}  # the column that `dataset_info.json` names must be there


def alpaca_row(row: Example) -> dict[str, Any]:
    """Return a row of Alpaca: an instruction and an output; earlier turns are the history.

    Raises:
        CannotHold: Tools, further keys in a message, or turns that do not alternate.
    """
    turns = list(row.messages)
    if _tools(row) or any(turn["role"] == "tool" or turn.get("tool_calls") for turn in turns):
        raise CannotHold("tools or tool calls")
    if any(turn.keys() - {"role", "content"} for turn in turns):
        raise CannotHold(messages.say("keys_without_place"))
    system = turns.pop(0)["content"] if turns[0]["role"] == "system" else ""
    if [turn["role"] for turn in turns] != ["user", "assistant"] * (len(turns) // 2) or not turns:
        raise CannotHold(messages.say("not_alternating"))
    texts = [turn["content"] for turn in turns]
    pairs = [texts[i : i + 2] for i in range(0, len(texts), 2)]
    question, answer = pairs.pop()
    return {
        "instruction": question,
        "input": "",
        "output": answer,
        **({"system": system} if system else {}),
        **({"history": pairs} if pairs else {}),
    }


# --- what stands beside -------------------------------------------------------------------------------------------


def _dataset_info(folder: Path, files: Mapping[str, str]) -> Path:
    info = {
        f"{folder.resolve().name}_{split}": {
            "file_name": name,
            "formatting": "sharegpt",
            "columns": {"messages": "conversations", "tools": "tools"},
            "tags": {
                "role_tag": "from",
                "content_tag": "value",
                "user_tag": "human",
                "assistant_tag": "gpt",
                "observation_tag": "observation",
                "function_tag": "function_call",
                "system_tag": "system",
            },
        }
        for split, name in files.items()
    }
    path = folder / "dataset_info.json"
    write_atomic(path, orjson.dumps(info, option=orjson.OPT_INDENT_2))
    return path


def _axolotl_yaml(folder: Path, files: Mapping[str, str]) -> Path:
    import yaml

    def entry(name: str) -> dict[str, Any]:
        return {
            "path": name,
            "ds_type": "json",
            "type": "chat_template",
            "field_messages": "messages",
            "field_tools": "tools",
            "message_property_mappings": {"role": "role", "content": "content"},
            "roles_to_train": ["assistant"],
            "message_field_training": "train",
        }

    train = [entry(name) for split, name in files.items() if split == "train"]
    tested = [{**entry(name), "split": "train"} for split, name in files.items() if split != "train"]
    text = yaml.safe_dump({"datasets": train, **({"test_datasets": tested} if tested else {})}, sort_keys=False)
    path = folder / "axolotl.yaml"
    write_atomic(path, b"# The data of an Axolotl configuration: add base_model and the rest.\n" + text.encode())
    return path


def axolotl_row(row: Example) -> dict[str, Any]:
    """Return a row for Axolotl's `chat_template`: as OpenAI's; an answer of weight 0 is marked `train: false`."""
    turns = [
        {key: item for key, item in message.items() if key != "weight"} | {"train": bool(message["weight"])}
        if "weight" in message
        else message
        for message in row.messages
    ]
    return {**openai_row(row), "messages": turns}


# --- Parquet ------------------------------------------------------------------------------------------------------

_BATCH: Final = 4096
_MESSAGE_KEYS: Final = frozenset(
    {"role", "content", "name", "tool_calls", "tool_call_id", "weight", "reasoning_content"}
)


def parquet_row(row: Example) -> dict[str, Any]:
    """Return a row of a Parquet file: `messages` in columns, tools and provenance as JSON text.

    Raises:
        CannotHold: A message with a key that the columns do not have.
    """
    if any(message.keys() - _MESSAGE_KEYS for message in row.messages):
        raise CannotHold("a message with unsupported keys")
    tools = _tools(row)
    meta = {key: value for key, value in row.meta.items() if key != "tools"}
    return {
        "messages": list(row.messages),
        "tools": orjson.dumps(tools).decode() if tools else None,
        "group": row.group,
        "tags": list(row.tags),
        "meta": orjson.dumps({**meta, "source": row.source} if row.source else meta).decode(),
    }


def _write_parquet(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    require("pyarrow")
    import pyarrow as pa
    from pyarrow import parquet

    text = pa.string()
    call = pa.struct([("id", text), ("type", text), ("function", pa.struct([("name", text), ("arguments", text)]))])
    fields = [(key, text) for key in ("role", "content", "name", "tool_call_id", "reasoning_content")]
    columns = [
        ("messages", pa.list_(pa.struct([*fields, ("weight", pa.int64()), ("tool_calls", pa.list_(call))]))),
        ("tools", text),
        ("group", text),
        ("tags", pa.list_(text)),
    ]
    schema = pa.schema([*columns, ("meta", text)])
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.part")
    remaining = iter(rows)
    try:
        with parquet.ParquetWriter(temporary, schema, compression="zstd") as writer:
            while batch := list(islice(remaining, _BATCH)):
                writer.write_batch(pa.RecordBatch.from_pylist(batch, schema=schema))
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


for _name, _convert, _more in (
    ("openai", openai_row, {}),
    ("trl", trl_row, {}),
    ("preference", preference_row, {}),
    ("sharegpt", sharegpt_row, {}),
    ("alpaca", alpaca_row, {}),
    ("llama_factory", llama_factory_row, {"also": _dataset_info}),
    ("axolotl", axolotl_row, {"also": _axolotl_yaml}),
    ("parquet", parquet_row, {"suffix": "parquet"}),
):
    WRITERS.register(_name)(Writer(name=_name, tool_calls=messages.TOOL_CALLS[_name], convert=_convert, **_more))

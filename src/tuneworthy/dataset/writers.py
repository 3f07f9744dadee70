"""Export formats of a dataset, for other trainers; our own readers read all of them again.

A format that cannot represent a row leaves it out with the reason and never changes it. Only Parquet keeps provenance,
group and tags; tools and their calls are written wherever the format has a place for them. Files are written row by row
and are whole or do not exist.

Sources: TRL docs/source/dataset_formats.md; LLaMA-Factory data/README.md and src/llamafactory/data/converter.py;
Axolotl docs/dataset-formats/conversation.qmd; OpenAI guide "Supervised fine-tuning".
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import deepcopy
from itertools import islice
from pathlib import Path

import orjson

from tuneworthy.cases.formats.tool_calls import plain_calls, tools_of
from tuneworthy.cases.pairs import rejected_answer
from tuneworthy.cases.writer import write_rows
from tuneworthy.dataset import messages
from tuneworthy.dataset.records import MESSAGE_KEYS
from tuneworthy.errors import UserError
from tuneworthy.extras import require
from tuneworthy.registry import Registry
from tuneworthy.store import write_atomic
from tuneworthy.types import Example, JsonObject, NamedTexts, TextTuple, calls_of, frozen, positional, role_of

Convert = Callable[[Example], JsonObject]


class CannotHold(Exception):
    """The format has no place for something in the row; the argument says for what."""


@positional
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
    left_out: dict[str, int]
    left_out_ids: TextTuple
    notes: TextTuple


@frozen
class Writer:
    """One format.

    Attributes:
        name: As given on the command line.
        tool_calls: What becomes of tools and their calls, in one sentence.
        suffix: Of the data files.
        convert: Converts a row to the format.
        also: Writes a file next to the data files, whose names by split it gets.
    """

    name: str
    tool_calls: str
    suffix: str = "jsonl"
    convert: Convert
    also: Callable[[Path, NamedTexts], Path] | None = None


WRITERS: Registry[Writer] = Registry("export_formats", {})


def write_dataset(name: str, folder: Path, splits: Mapping[str, Iterable[Example]]) -> Written:
    """Write the splits of a dataset in the format `name`, a file each, into `folder`.

    Args:
        name: A format of `WRITERS`.
        folder: Made if need be.
        splits: Rows by the name of their split, e.g. `train`.

    Raises:
        UserError: No such format, or a split whose name is no file name.
    """
    writer = WRITERS.get(name)
    reasons, ids = Counter[str](), list[str]()
    paths, n_rows = [], Counter[str]()

    def convert(split: str, rows: Iterable[Example]) -> Iterator[JsonObject]:
        for row in rows:
            try:
                converted = writer.convert(row)
            except CannotHold as reason:
                reasons[str(reason)] += 1
                ids.append(row.id)
                continue
            n_rows[split] += 1
            yield converted

    for split, rows in splits.items():
        if not split.isidentifier():
            raise UserError(
                f"{split!r} is not a valid split name. Use letters, digits and underscores, and do not start with "
                "a digit."
            )
        path = folder / f"{split}.{writer.suffix}"
        n_rows[split] = 0
        (_write_parquet if writer.suffix == "parquet" else write_rows)(path, convert(split, rows))
        paths.append(path)
    if writer.also is not None:
        paths.append(writer.also(folder, {split: f"{split}.{writer.suffix}" for split in splits}))
    return Written(tuple(paths), dict(n_rows), dict(reasons), tuple(ids), (writer.tool_calls,))


# --- chats as they are --------------------------------------------------------------------------------------------


def _tools(row: Example) -> list[JsonObject]:
    tools = row.meta.get("tools")
    return tools_of(tools) if tools else []


def _with_tools(row: Example, converted: JsonObject) -> JsonObject:
    tools = _tools(row)
    return {**converted, "tools": tools} if tools else converted


def openai_row(row: Example) -> JsonObject:
    """Return a row of OpenAI's fine-tuning format: messages, and the tools that could be called."""
    return _with_tools(row, {"messages": list(row.messages)})


def trl_row(row: Example) -> JsonObject:
    """Return a row of TRL's conversational prompt-completion format: the loss is on the last message only.

    Arguments of calls are objects, as chat templates want them. Arrow gives all objects in a column one set of keys,
    so a program that loads such a file with `datasets` must drop keys that are null.
    """
    turns = []
    for message in row.messages:
        listed = [
            {**call, "function": {**call["function"], "arguments": orjson.loads(call["function"]["arguments"])}}
            for call in calls_of(message)
        ]
        turns.append({**message, "tool_calls": listed} if listed else message)
    return _with_tools(row, {"prompt": turns[:-1], "completion": turns[-1:]})


def preference_row(row: Example) -> JsonObject:
    """Return a row of TRL's conversational preference format: a prompt, the better and the worse answer.

    Raises:
        CannotHold: It is no pair, or its answer has further keys.
    """
    worse = rejected_answer(row)
    if not worse:
        raise CannotHold("a row without a worse answer")
    if row.messages[-1].keys() - {"role", "content", "tool_calls"}:
        raise CannotHold(_NO_KEYS)
    converted = trl_row(row)
    converted["chosen"], converted["rejected"] = converted.pop("completion"), [{"role": "assistant", "content": worse}]
    return converted


# --- turns --------------------------------------------------------------------------------------------------------

_SPEAKERS = {"system": "system", "user": "human", "assistant": "gpt", "tool": "observation"}
_NO_KEYS = "a message with keys other than role and content"
_NOT_ALTERNATING = "user and assistant turns that do not alternate"


def sharegpt_row(row: Example) -> JsonObject:
    """Return a row of ShareGPT: turns with `from` and `value`; calls are `function_call`, results `observation`.

    Raises:
        CannotHold: Text and calls in one turn, results in another order than their calls, or a turn with another role
            or further keys.
    """
    turns = []
    open_ids = []
    for message in row.messages:
        speaker, value, calls = _SPEAKERS.get(role_of(message)), message["content"], calls_of(message)
        if speaker is None:
            raise CannotHold(f"a turn with the role {role_of(message)!r}")
        if message.keys() - {"role", "content", "tool_calls", "tool_call_id"}:
            raise CannotHold(_NO_KEYS)
        if calls:
            if value:
                raise CannotHold("text and tool calls in the same turn")
            listed = plain_calls(message)
            speaker, value = "function_call", orjson.dumps(listed[0] if len(listed) == 1 else listed).decode()
            open_ids += [call["id"] for call in calls]
        elif speaker == "observation" and open_ids[:1] != [message.get("tool_call_id")]:
            raise CannotHold("tool results in another order than their calls")
        elif speaker == "observation":
            del open_ids[0]
        turns.append({"from": speaker, "value": value})
    tools = [tool["function"] if set(tool) == {"type", "function"} else tool for tool in _tools(row)]
    return {"conversations": turns, **({"tools": orjson.dumps(tools).decode()} if tools else {})}


def llama_factory_row(row: Example) -> JsonObject:
    """Return a row of ShareGPT as LLaMA-Factory takes it: people and results in turn with answers and calls.

    Raises:
        CannotHold: As ShareGPT, or turns that do not alternate (LLaMA-Factory skips such rows without an error).
    """
    converted = sharegpt_row(row)
    speakers = [turn["from"] for turn in converted["conversations"]]
    if speakers[0] == "system":
        del speakers[0]
    asks = [speaker in {"human", "observation"} for speaker in speakers]
    if "system" in speakers or asks != [i % 2 == 0 for i in range(len(asks))]:
        raise CannotHold(_NOT_ALTERNATING)
    return {"tools": "", **converted}  # the column that `dataset_info.json` names must be there


def alpaca_row(row: Example) -> JsonObject:
    """Return a row of Alpaca: an instruction and an output; earlier turns are the history.

    Raises:
        CannotHold: Tools, further keys in a message, or turns that do not alternate.
    """
    if _tools(row) or any(role_of(turn) == "tool" or calls_of(turn) for turn in row.messages):
        raise CannotHold("tools or tool calls")
    if any(turn.keys() - {"role", "content"} for turn in row.messages):
        raise CannotHold(_NO_KEYS)
    start = int(role_of(row.messages[0]) == "system")
    turns = row.messages[start:]
    if not turns or [role_of(turn) for turn in turns] != ["user", "assistant"] * (len(turns) // 2):
        raise CannotHold(_NOT_ALTERNATING)
    *before, question, answer = [turn["content"] for turn in turns]
    converted = {"instruction": question, "input": "", "output": answer}
    if start:
        converted["system"] = row.messages[0]["content"]
    history = [before[i : i + 2] for i in range(0, len(before), 2)]
    return {**converted, "history": history} if history else converted


# --- files of trainers ---------------------------------------------------------------------------------------------

_SHAREGPT = {
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
_CHAT_TEMPLATE = {
    "ds_type": "json",
    "type": "chat_template",
    "field_messages": "messages",
    "field_tools": "tools",
    "message_property_mappings": {"role": "role", "content": "content"},
    "roles_to_train": ["assistant"],
    "message_field_training": "train",
}


def _dataset_info(folder: Path, files: NamedTexts) -> Path:
    name = folder.resolve().name
    info = {f"{name}_{split}": {"file_name": file, **_SHAREGPT} for split, file in files.items()}
    path = folder / "dataset_info.json"
    write_atomic(path, orjson.dumps(info, option=orjson.OPT_INDENT_2))
    return path


def _axolotl_yaml(folder: Path, files: NamedTexts) -> Path:
    import yaml

    entries = {split: {"path": name, **deepcopy(_CHAT_TEMPLATE)} for split, name in files.items()}
    train = [entry for split, entry in entries.items() if split == "train"]
    tested = [{**entry, "split": "train"} for split, entry in entries.items() if split != "train"]
    text = yaml.safe_dump({"datasets": train, **({"test_datasets": tested} if tested else {})}, sort_keys=False)
    path = folder / "axolotl.yaml"
    write_atomic(path, b"# The data of an Axolotl configuration: add base_model and the rest.\n" + text.encode())
    return path


def axolotl_row(row: Example) -> JsonObject:
    """Return a row for Axolotl's `chat_template`: as OpenAI's; an answer of weight 0 is marked `train: false`."""
    turns = [
        {key: item for key, item in message.items() if key != "weight"} | {"train": bool(message["weight"])}
        if "weight" in message
        else message
        for message in row.messages
    ]
    return {**openai_row(row), "messages": turns}


# --- Parquet ------------------------------------------------------------------------------------------------------

_BATCH = 4096


def parquet_row(row: Example) -> JsonObject:
    """Return a row of a Parquet file: `messages` in columns, tools and provenance as JSON text.

    Raises:
        CannotHold: A message with a key that the columns do not have.
    """
    if any(message.keys() - MESSAGE_KEYS for message in row.messages):
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


def _write_parquet(path: Path, rows: Iterable[JsonObject]) -> None:
    require("pyarrow")
    import pyarrow as pa
    from pyarrow import parquet

    text = pa.string()
    call = pa.struct([("id", text), ("type", text), ("function", pa.struct([("name", text), ("arguments", text)]))])
    fields = [(key, text) for key in ("role", "content", "name", "tool_call_id", "reasoning_content")]
    schema = pa.schema(
        [
            ("messages", pa.list_(pa.struct([*fields, ("weight", pa.int64()), ("tool_calls", pa.list_(call))]))),
            ("tools", text),
            ("group", text),
            ("tags", pa.list_(text)),
            ("meta", text),
        ]
    )
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

"""What click refuses on the command line, as errors of ours: a sentence, the nearest valid name, a code."""

import re
from importlib.resources import files

import click
import orjson

from tuneworthy.errors import UsageError, did_you_mean, join_sentences


def replacement(*place: str) -> str:
    """Return the replacement of a removed command, option or choice, by `removed.json`; "" if it never existed."""
    hints = orjson.loads(files(__package__).joinpath("removed.json").read_bytes())
    return next((hint for hint, places in hints.items() if " ".join(place) in places), "")


def usage_error(error: click.ClickException) -> UsageError:
    context, near = getattr(error, "ctx", None), ""
    message = error.format_message()
    command = context.command_path.partition(" ")[2] if context else ""
    match error:
        case click.NoSuchOption(option_name=name):
            message = f"Unknown option: {name!r}."
            parameters = context.command.get_params(context) if context else []
            near = replacement(command, name) or did_you_mean(name, [opt for one in parameters for opt in one.opts])
        case click.BadParameter(param=click.Parameter(type=click.Choice(choices=choices), opts=opts)):
            if value := re.match("'(.*?)' is not one of", error.message):
                near = replacement(command, opts[0], value[1]) or did_you_mean(value[1], list(map(str, choices)))
    help_line = f"Run `{context.command_path} --help` for the options." if context else ""
    return UsageError(message, hint=join_sentences(near, help_line))

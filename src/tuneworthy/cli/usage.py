"""What click refuses on the command line, as errors of ours: a sentence, the nearest valid name, a code."""

import re

import click

from tuneworthy.errors import UsageError, did_you_mean, join_sentences


def usage_error(error: click.ClickException) -> UsageError:
    context, near = getattr(error, "ctx", None), ""
    message = error.format_message()
    match error:
        case click.NoSuchOption(option_name=name):
            message = f"Unknown option: {name!r}."
            parameters = context.command.get_params(context) if context else []
            near = did_you_mean(name, [opt for one in parameters for opt in one.opts])
        case click.BadParameter(param=click.Parameter(type=click.Choice(choices=choices))):
            if value := re.match("'(.*?)' is not one of", error.message):
                near = did_you_mean(value[1], list(map(str, choices)))
    return UsageError(
        message, hint=join_sentences(near, f"Run `{context.command_path} --help` for the options." if context else "")
    )

"""The command line: a file a verb; each parses, calls and renders. Nothing heavy is imported before a verb runs."""

import errno
import logging
import os
import re
import resource
import sys
from contextlib import suppress

import click

from tuneworthy import __version__
from tuneworthy.cli.bug_report import write_bug_report
from tuneworthy.cli.invocation import Invocation
from tuneworthy.cli.lazy import LazyGroup
from tuneworthy.cli.options import print_json
from tuneworthy.cli.safe_stream import safe_streams
from tuneworthy.cli.usage import usage_error
from tuneworthy.errors import TuneworthyError, UserError
from tuneworthy.signals import listen
from tuneworthy.trust import Untrusted

# Verb to its line in `--help`; the module `tuneworthy.cli.<verb>` has the command `command`.
VERBS = {
    "demo": "Create a small project and run its ladder.",
    "record": "Record the calls of a running program in a file.",
    "init": "Create a project from data files or from recorded calls.",
    "cases": "Draw, add and inspect cases.",
    "label": "Label, rate and review rows, one at a time.",
    "ui": "Label, review and read results in a browser.",
    "trust": "Allow the permissions of a project file.",
    "check": "Check the project before money is spent.",
    "run": "Run the ladder on one frozen test set.",
    "compare": "Compare two variants, paired.",
    "status": "Show the two-week plan, spending and the next step.",
    "decide": "Decide whether to fine-tune, with the evidence.",
    "report": "Write the report of the last run, or of the training data.",
    "data": "Build training data from logs or a teacher.",
    "plan": "Plan a training run, with reasons and memory.",
    "train": "Train a model, check it and compare it on test.",
    "export": "Write the winner as files to use elsewhere.",
    "decode": "Explain, tune and test sampling parameters.",
    "shadow": "Send traffic to a candidate and judge its answers.",
    "serve": "Serve the fine-tuned model or the classifier until Ctrl-C.",
    "doctor": "Check and repair stored answers, records and models.",
    "models": "List and download models.",
}


# What to do about an error of the operating system; any other one is a bug.
SYSTEM_HINTS = {
    getattr(errno, name): hint
    for names, hint in {
        "EPIPE": "",
        "ENOMEM": "Close other programs, or allow at least 1 GiB (`ulimit -v`), then run the same command again.",
        "ENOSPC EDQUOT EFBIG": (
            "Free some space, then run the same command again. Finished calls are never paid for twice."
        ),
        "EMFILE ENFILE": ("Allow more open files, for example with `ulimit -n 1024`, then run the same command again."),
        "EROFS EACCES EPERM": (
            "Get read and write permission for this path, or copy the project to a folder of your own."
        ),
        "EIO ENOENT EEXIST ENOTDIR EISDIR ELOOP ENAMETOOLONG": "Check this path, then run the same command again.",
    }.items()
    for name in names.split()
}


# Of the address space (`ulimit -v`), bytes: below it, libraries of linear algebra abort or never return.
MIN_MEMORY = 2**30
_NO_MEMORY = re.compile("allocate memory|failed to map segment|start new thread")


@click.group(cls=LazyGroup, parts=VERBS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="tuneworthy")
@click.option("-v", "--verbose", count=True, help="Show details, and log to stderr; -vv logs more.")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.make_pass_decorator(Invocation, ensure=True)
def root(invocation: Invocation, verbose: int, debug: bool) -> None:
    """Find out, with evidence, whether to fine-tune; and if so, do it safely.

    The ladder tries one rung after another, from prompts to training. The verdict says whether to train, and
    whether to ship.

    \b
    A first look (no key, no GPU):   tuneworthy demo
    Your own data:                   tuneworthy init my-task --data cases.csv
    """
    listen()
    invocation.debug, invocation.verbose = debug, bool(verbose)
    if verbose:
        logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", force=True)
        logging.getLogger("tuneworthy").setLevel(logging.INFO if verbose == 1 else logging.DEBUG)


def _errno(error: Exception) -> int:
    """Return the number of the error of the operating system behind `error`; 0 if it is another error.

    Libraries in Rust (safetensors) have the number in their text. NumPy reports a full disk without a number.
    """
    if isinstance(error, MemoryError) or _NO_MEMORY.search(str(error)):
        return errno.ENOMEM
    text = re.search(r"\(os error (\d+)\)$|^\d+ requested and \d+ written$", str(error))
    named = error.errno if isinstance(error, OSError) else None
    return named or (int(text[1] or errno.ENOSPC) if text else 0)


def _refused(error: Exception, number: int, invocation: Invocation) -> int:
    """Report a refusal of the operating system; the user can change it, so it is no bug.

    Source: errno(3).
    """
    if invocation.debug:
        sys.excepthook(type(error), error, error.__traceback__)
    with suppress(OSError, ValueError):
        sys.stdout.flush()
    with suppress(OSError, ValueError):  # buffered output would fail once more when the interpreter ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if number == errno.EPIPE:
        return 141
    where = getattr(error, "filename", None) or "The operating system"
    refusal = UserError(f"{where}: {os.strerror(number)}", hint=SYSTEM_HINTS[number])
    with suppress(OSError):
        _report(refusal, invocation)
    return refusal.exit_status


def _report(error: TuneworthyError, invocation: Invocation) -> None:
    """Print an error with its code; under `--json` for machines too, on stdout."""
    click.echo(f"error[{error.error_code}]: {error}", err=True)
    if "--json" in invocation.arguments and not invocation.answered:
        print_json(
            {
                "error": {
                    "code": error.error_code,
                    "message": error.message,
                    "hint": error.hint,
                    "exit_status": error.exit_status,
                }
            }
        )


def _run(invocation: Invocation) -> int:
    for argument in invocation.arguments:
        try:
            argument.encode()
        except UnicodeEncodeError:  # neither a file of ours nor a JSON document could contain it
            raise UserError(
                f"The argument {argument!r} is not valid UTF-8.", hint="Rename the file or folder that it names."
            ) from None
    if 0 <= resource.getrlimit(resource.RLIMIT_AS)[0] < MIN_MEMORY:
        raise MemoryError
    result: object = root.main(invocation.arguments, prog_name="tuneworthy", standalone_mode=False, obj=invocation)
    if sys.stdout is not None:
        sys.stdout.flush()  # a full disk is an error of this command, not of the interpreter's end
    return result if isinstance(result, int) else 0


def invoke(arguments: list[str]) -> int:
    invocation = Invocation(arguments)
    with safe_streams(invocation):
        return _invoke(invocation)


def _invoke(invocation: Invocation) -> int:
    try:
        try:
            return _run(invocation)
        except Untrusted as error:
            from tuneworthy.cli.trust import ask_for_trust

            if not ask_for_trust(error):
                raise
            return _run(invocation)
    except SystemExit:  # click's way out when the reader of our output left, as `head` does
        return 141
    except (click.exceptions.Abort, KeyboardInterrupt) as stop:
        is_prompt = isinstance(stop, click.Abort) and not stop.__cause__
        cached = "" if is_prompt or "label" in invocation.arguments[:2] else " Finished calls are cached."
        click.echo(f"Stopped.{cached} Run the same command again to resume.", err=True)
        return 130
    except click.ClickException as error:
        if isinstance(error, getattr(click.exceptions, "NoArgsIsHelpError", ())):  # since click 8.2
            click.echo(error.format_message(), err=True)
            return UserError.exit_status
        refusal = usage_error(error)
        _report(refusal, invocation)
        return refusal.exit_status
    except TuneworthyError as error:
        if invocation.debug:
            sys.excepthook(type(error), error, error.__traceback__)
        _report(error, invocation)
        return error.exit_status
    except Exception as error:
        if (number := _errno(error)) in SYSTEM_HINTS:
            return _refused(error, number, invocation)
        click.echo(
            (
                "error: This is a bug in tuneworthy. Please report it and attach "
                f"{write_bug_report(error, invocation)}, which contains the traceback."
            ),
            err=True,
        )
        if invocation.debug:
            sys.excepthook(type(error), error, error.__traceback__)
        return 1

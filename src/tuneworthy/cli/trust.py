"""`tuneworthy trust`, and the question that other commands ask on a terminal."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from tuneworthy.cli.options import json_option, note, print_json, project_option, say, wants_json
from tuneworthy.config import load
from tuneworthy.config.grants import grants_of
from tuneworthy.store import Folder
from tuneworthy.trust import VARIABLE, Grant, Untrusted, allow, allowed, contents, is_allowed


@click.command("trust")
@project_option
@click.argument("action", type=click.Choice(["allow", "show", "revoke"]), default="allow")
@json_option
def command(root: Path, action: str) -> None:
    """Allow the permissions of a project file.

    ACTION is allow (default), show (what is allowed and what is missing) or revoke (all permissions).

    A project file can name Python functions, programs, keys, servers and files outside its folder. They stay unused
    until you allow it, with this command or when another command asks. Your permission is stored in your own
    configuration and applies to this folder. It does not cover anything that the project file asks for later, nor a
    Python file that changes: you are asked again. In CI, set TUNEWORTHY_TRUST to the folder instead (separate several
    with a colon).

    \b
    Example:
      tuneworthy trust show
      tuneworthy trust
    """
    project = load(root)
    Folder(project.root)
    grants, revoke = grants_of(project), action == "revoke"
    if action != "show":
        allow(project.root, () if revoke else grants)
        grants = grants_of(load(root))  # a package that may be imported now can ask for more
        if not revoke:
            allow(project.root, grants)
    names = {grant.what for grant in allowed(project.root) if grant.kind == "content"}
    grants = sorted({*grants, *(grant for grant in contents(project.root) if grant.what in names)})
    missing = [grant for grant in grants if not is_allowed(project.root, grant)]
    stored = [grant for grant in grants if grant not in missing]
    if wants_json():
        rows = {name: [one._asdict() for one in listed] for name, listed in (("allowed", stored), ("missing", missing))}
        print_json({"project": str(project.root), **rows})
        return
    _list(f"You allow the project in {project.root} to:", [grant for grant in stored if grant.kind != "content"])
    _list(f"You have not allowed the project in {project.root} to:", missing)
    if not grants:
        say(f"The project in {project.root} does nothing that needs your permission.")
    if revoke and any(os.environ.get(VARIABLE, "").split(os.pathsep)):
        note(
            f"{VARIABLE} is set in your environment, so projects in the folders that it lists stay trusted. Unset "
            "it to revoke that too."
        )


def _list(title: str, grants: Sequence[Grant]) -> None:
    if grants:
        say(title)
        for grant in grants:
            say(f"  {grant}")


def ask_for_trust(error: Untrusted) -> bool:
    """Ask the person at the terminal, once, for all that a project asks for; return whether it was allowed.

    No one is asked where input or the question would not be a terminal's.
    """
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    grants = sorted({*grants_of(load(error.root)), *error.grants})
    note(f"The project in {error.root} wants to do the following as your user (new items are marked with +):")
    for grant in grants:
        note(f"  {'  ' if grant in allowed(error.root) else '+ '}{grant}")
    if not click.confirm("Trust this project and allow all of this?", default=False, err=True):
        return False
    allow(error.root, grants)
    return True

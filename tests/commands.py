"""Every command there is, by what is typed."""

from __future__ import annotations

from elman.cli.app import app
from elman.cli.commands import Group, Later


def every_command(group: Group = app) -> dict[str, Later]:
    found = {}
    for name, command in group.commands.items():
        if isinstance(command, Group):
            found |= {f"{name} {inner}": each for inner, each in every_command(command).items()}
        else:
            assert isinstance(command, Later)
            found[name] = command
    return found


COMMANDS = every_command()

"""The options of a command as one value: its fields are what click reads, name by name."""

import dataclasses
import inspect
from importlib import import_module

import click
import pytest

from hakaru.cli import options
from hakaru.cli.app import app

COMMANDS = {name: c for name, c in app.commands.items() if not isinstance(c, click.Group)} | {
    f"{name}_{part}": c
    for name, group in app.commands.items()
    if isinstance(group, click.Group)
    for part, c in group.commands.items()
}


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_a_commands_options_are_its_clicks(name: str) -> None:
    """No option of click's without a field, no field without an option, and no other default."""
    command = COMMANDS[name]
    assert command.callback
    does = import_module("hakaru.cli.commands." + name.partition("_")[0].replace("-", "_"))
    kind = getattr(
        does, "".join(map(str.capitalize, name.replace("-", "_").split("_"))) + "Options"
    )
    assert inspect.unwrap(command.callback).__annotations__["options"] == kind.__name__
    read = {p.name: p for p in command.params if p.name != "help"}
    fields = {field.name: field for field in dataclasses.fields(kind)}
    assert read.keys() == fields.keys()
    if name in {
        "fit",
        "test",
        "up",
        "tune",
        "serve",
    }:  # the others spell an option of these names their own way
        for shared in dataclasses.fields(options.ContextOptions):
            param = read[shared.name]
            assert isinstance(param, click.Option)
            default = param.get_default(click.Context(command))
            assert default == shared.default or (
                shared.default is None and str(default) == "Sentinel.UNSET"
            )

"""`hakaru key`: the keys of servers that other machines reach."""

from dataclasses import dataclass

from hakaru.cli.output import print_aside, print_json, print_text
from hakaru.language import say
from hakaru.serving import keys


@dataclass(frozen=True, kw_only=True)
class KeyAddOptions:
    """`hakaru key add`."""

    name: str
    json: bool


@dataclass(frozen=True, kw_only=True)
class KeyRmOptions:
    """`hakaru key rm`."""

    name: str
    json: bool


@dataclass(frozen=True, kw_only=True)
class KeyListOptions:
    """`hakaru key list`."""

    json: bool


def add_key(options: KeyAddOptions) -> int:
    """Make a key and show it, alone on stdout."""
    key = keys.add(options.name)
    if options.json:
        print_json({"schema": keys.SCHEMA, "name": options.name, "key": key})
        return 0
    print_text(key)
    print_aside(say("Keep it: only its hash is kept here, so nobody can show it again."))
    return 0


def list_keys(options: KeyListOptions) -> int:
    """Show names and days, never keys or hashes."""
    known = {name: key["since"] for name, key in sorted(keys.stored().items())}
    if options.json:
        print_json({"schema": keys.SCHEMA, "keys": known})
        return 0
    for name, since in known.items():
        print_text(f"{since}  {name}")
    if not known:
        print_text(say("There is no key yet: hakaru key add NAME"))
    return 0


def remove_key(options: KeyRmOptions) -> int:
    """Take a key back."""
    keys.remove(options.name)
    if options.json:
        print_json({"schema": keys.SCHEMA, "removed": options.name})
    else:
        print_text(say("Removed; a server that runs takes it until it ends."))
    return 0

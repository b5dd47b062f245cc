"""The commands of the command line: every module in ``textkit.commands`` may hold some.

A command is one function on a text. Modules are found, so that adding one changes no other file.
"""

import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

from textkit import commands
from textkit.errors import TextkitError, require


@dataclass(frozen=True)
class Command:
    name: str
    help: str
    run: Callable[[str, str | None], str]  # (text, option) -> what is printed
    option: str = ""  # what --option means; empty: it takes none


def discover() -> dict[str, Command]:
    """All commands by name."""
    found: dict[str, Command] = {}
    for info in sorted(pkgutil.iter_modules(commands.__path__), key=lambda info: info.name):
        module = import_module(f"{commands.__name__}.{info.name}")
        for command in module.COMMANDS:
            require(command.name not in found, f"Two commands are called {command.name}.")
            found[command.name] = command
    return found


def whole_number(option: str | None, default: int) -> int:
    """The option as a number."""
    if option is None:
        return default
    try:
        return int(option)
    except ValueError:
        raise TextkitError(f"The option must be a whole number, not {option!r}.") from None

"""``textkit COMMAND [--option VALUE] [TEXT]``; without a text it reads standard input."""

import argparse
import sys
from collections.abc import Sequence

from textkit.errors import TextkitError
from textkit.registry import discover
from textkit.suggest import Speller


def main(arguments: Sequence[str] | None = None) -> int:
    commands = discover()
    parser = argparse.ArgumentParser(prog="textkit", description="Small tools for texts.")
    parser.add_argument("command", help="one of: " + ", ".join(sorted(commands)))
    parser.add_argument("text", nargs="?", help="the text; else standard input is read")
    parser.add_argument("--option", help="depends on the command")
    given = parser.parse_args(arguments)
    command = commands.get(given.command)
    if command is None:
        meant = Speller(" ".join(commands)).suggest(given.command)
        hint = f" Did you mean {meant[0]}?" if meant else ""
        print(f"There is no command {given.command}.{hint}", file=sys.stderr)
        return 2
    text = given.text if given.text is not None else sys.stdin.read()
    try:
        print(command.run(text, given.option))
    except TextkitError as error:
        print(error, file=sys.stderr)
        return 1
    return 0

"""Commands that write and read codes."""

from textkit.caesar import decrypt, encrypt
from textkit.codebreak import crack
from textkit.registry import Command, whole_number
from textkit.roman import from_roman, to_roman


def _roman(text: str, _: str | None) -> str:
    wanted = text.strip()
    return to_roman(int(wanted)) if wanted.isdecimal() else str(from_roman(wanted))


COMMANDS = (
    Command("encrypt", "Caesar cipher.", lambda t, o: encrypt(t, whole_number(o, 13)), "key"),
    Command("decrypt", "Undo encrypt.", lambda t, o: decrypt(t, whole_number(o, 13)), "key"),
    Command("crack", "Break a Caesar cipher.", lambda text, _: crack(text)),
    Command("roman", "Number to Roman numeral, or back.", _roman),
)

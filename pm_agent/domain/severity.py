"""How bad something is: a blocker that is there, or a risk that may come true."""

from typing import Literal

Severity = Literal["low", "medium", "high"]

"""Two hundred texts that give orders, in every field of what a writer is told: they stay data."""

import json
from collections.abc import Iterator
from typing import Any, get_args, get_type_hints

import msgspec
import pytest

from pm_agent.adapters.llm_prompts import content_of
from pm_agent.adapters.llm_rules import instructions
from pm_agent.adapters.quoting import clean
from pm_agent.ports import BlockerBrief, Brief, InstructionBrief, TaskBrief
from tests.injections import INJECTIONS

PLAIN = "plain words"
OUR_WORDS = {"priority", "completion"}  # one of a few, and ids are made from counters


def _value(hint: Any, text: str) -> Any:
    """Something of a field's type, full of a text."""
    if hint is str:
        return text
    if hint is int:
        return 1
    inner = get_args(hint)
    if inner[-1] is Ellipsis:
        return (_value(inner[0], text),)
    if isinstance(inner[0], str):  # one of certain words
        return inner[0]
    return tuple(_value(one, text) for one in inner)


def _briefs(kind: type[msgspec.Struct], text: str) -> Iterator[tuple[str, Any]]:
    """One brief for each field that takes words: it alone holds the text."""
    hints = get_type_hints(kind)
    plain = {name: _value(hint, PLAIN) for name, hint in hints.items() if name != "__match_args__"}
    for name in kind.__struct_fields__:
        value = _value(hints[name], text)
        if name.endswith("_id") or name in OUR_WORDS:
            continue
        if value != _value(hints[name], "another"):
            yield name, kind(**{**{f: plain[f] for f in kind.__struct_fields__}, name: value})


@pytest.mark.parametrize("kind", [InstructionBrief, BlockerBrief, TaskBrief])
def test_in_a_prompt_every_text_stays_in_the_json_of_the_untrusted_part(kind: Any) -> None:
    for text in INJECTIONS:
        for name, brief in _briefs(kind, text):
            asked: Brief = brief
            content = json.loads(content_of(asked))
            assert content.keys() == {"type", *kind.__struct_fields__}, name
            assert clean(text) in _texts(content[name]), name


def _texts(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else [t for one in value for t in _texts(one)]


def test_in_instructions_no_text_adds_a_heading_or_a_line_of_its_own() -> None:
    plain = {name: _frame(brief) for name, brief in _briefs(InstructionBrief, PLAIN)}
    for text in INJECTIONS:
        for name, brief in _briefs(InstructionBrief, text):
            assert _frame(brief) == plain[name], (name, text)


def _frame(brief: InstructionBrief) -> list[str]:
    """How each line begins, quotations left out: what a reader takes for ours."""
    lines = instructions(brief).splitlines()
    return [line[:3] for line in lines if line and not line.startswith(">")]

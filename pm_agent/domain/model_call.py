"""Calls of a language model: who answered, from which prompt, and what it cost. No commands."""

import msgspec

from pm_agent.domain.envelope import NO_USAGE, Usage

RULES = "rules"  # the writer that needs no model


class ModelCall(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """Where a text or a judgement comes from. Stands in the event that stores it.

    ``prompt_sha256`` covers the trusted template and the untrusted content, so that whoever has
    both can show that they were the ones; neither can be read from it.
    """

    writer: str = RULES  # "rules", or the model's name
    template: str = ""  # "instructions@1": id and version of the prompt
    prompt_sha256: str = ""
    stands_in: str = ""  # why rules wrote in a model's place: "budget", "circuit_open", "timeout"…
    input_tokens: int = 0  # all of them, those read from and written to the cache included
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    cost_microusd: int = 0
    prices: str = ""  # version of the price table; empty: unpriced, so the cost above means nothing
    is_batch: bool = False

    @property
    def usage(self) -> Usage:
        """What tasks, agents and projects are charged with."""
        tokens = self.input_tokens + self.output_tokens
        return Usage(tokens, self.cost_microusd) if tokens else NO_USAGE


BY_RULES = ModelCall()

"""The language model of Anthropic, through its own SDK; rules stand in whenever it does not answer.

What is asked, and what may come back, stands in ``llm_prompts.py``. Each call is priced; a day's
budget and a circuit breaker decide whether there is one. The SDK repeats calls that failed for a
moment (429, 5xx, 529, connection), with growing pauses and as ``Retry-After`` asks.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

import anthropic
import msgspec
from anthropic import AsyncAnthropic, transform_schema
from anthropic.types import Message
from anthropic.types.message_create_params import MessageCreateParamsNonStreaming
from pydantic import ValidationError

from pm_agent.adapters import llm_prompts as prompts
from pm_agent.adapters.llm_batches import Batches, BatchFailed
from pm_agent.adapters.llm_budget import Budget, CircuitBreaker, Price, dearest, price_of
from pm_agent.adapters.llm_prompts import Answer, Template
from pm_agent.adapters.llm_rules import Plan, RuleBasedWriter, instructions
from pm_agent.adapters.llm_rules_judge import judgement
from pm_agent.domain.model_call import ModelCall
from pm_agent.ports import (
    Advice,
    BlockerBrief,
    Brief,
    InstructionBrief,
    Judgement,
    Risk,
    TaskBrief,
    Written,
)

log = logging.getLogger(__name__)
A = TypeVar("A", bound=Answer)

# Why there was no usable answer, by what the SDK raised; the first that fits.
REASONS: tuple[tuple[type[Exception], str], ...] = (
    (anthropic.APITimeoutError, "timeout"),
    (TimeoutError, "timeout"),
    (anthropic.APIConnectionError, "unreachable"),
    (anthropic.RateLimitError, "rate_limited"),
    (anthropic.OverloadedError, "overloaded"),
    (anthropic.InternalServerError, "overloaded"),
    (anthropic.AuthenticationError, "not_authenticated"),
    (anthropic.PermissionDeniedError, "not_permitted"),
    (anthropic.APIError, "refused"),
)
# Share of a day's money that only what somebody waits for may spend: a board of 10,000 new tasks
# leaves as much for the instructions of those that begin.
KEPT_FOR_URGENT = 0.5
MAX_BAD_REPLIES = 2  # a reply that breaks the schema is asked for once more


class Models(NamedTuple):
    """Which model answers what."""

    main: str  # instructions and advice
    small: str  # assessments


class AnthropicModel:
    """Fulfils `pm_agent.ports.LanguageModel` with Anthropic's Messages API.

    Parameters
    ----------
    client
        The SDK's client, with key, base URL, time-out and retries.
    models
        Names of the models.
    microusd_a_day
        What calls may cost a day; beyond it rules answer.
    now_us
        The wall clock.
    batches : optional
        Sends what is not urgent as batches.
    """

    def __init__(
        self,
        client: AsyncAnthropic,
        models: Models,
        *,
        microusd_a_day: int,
        now_us: Callable[[], int],
        batches: Batches | None = None,
    ) -> None:
        self._client = client
        self._models = models
        self._budget = Budget(microusd_a_day, now_us)
        self._breaker = CircuitBreaker(now_us)
        self._batches = batches
        self.assessed_at_once = 0 if batches is not None else 1
        self._rules = RuleBasedWriter()

    async def write_instructions(self, brief: InstructionBrief) -> Written:
        found, call = await self._ask(prompts.INSTRUCTIONS, brief, prompts.PlanAnswer)
        if found is None:
            return Written(instructions(brief, stands_in=call.stands_in), call)
        plan = Plan(found.approach, tuple(found.steps), tuple(found.pitfalls), tuple(found.checks))
        return Written(instructions(brief, plan, writer=call.writer), call)

    async def advise(self, brief: BlockerBrief) -> Advice:
        found, call = await self._ask(prompts.ADVICE, brief, prompts.AdviceAnswer)
        if found is None:
            return (await self._rules.advise(brief))._replace(call=call)
        steps = tuple(found.steps)
        return Advice(found.cause, steps, found.confidence, found.needs_person, call)

    async def assess(self, briefs: Sequence[TaskBrief]) -> list[Judgement]:
        if self._batches is not None:  # all at once, so that they go in one batch
            return list(await asyncio.gather(*map(self._judge, briefs)))
        return [await self._judge(brief) for brief in briefs]

    async def _judge(self, brief: TaskBrief) -> Judgement:
        found, call = await self._ask(prompts.ASSESSMENT, brief, prompts.AssessmentAnswer)
        if found is None:
            return judgement(brief)._replace(call=call)
        risks = tuple(Risk(r.kind, r.severity, r.what, r.mitigation) for r in found.risks)
        return Judgement(found.minutes, found.level, tuple(found.reasons), risks, call)

    async def close(self) -> None:
        if self._batches is not None:
            await self._batches.close()
        await self._client.close()

    # -- one question -------------------------------------------------------------------------

    async def _ask(
        self, template: Template, brief: Brief | TaskBrief, kind: type[A]
    ) -> tuple[A | None, ModelCall]:
        """Ask the model; None and the reason in the call when it gave no usable answer."""
        is_urgent = template in (prompts.INSTRUCTIONS, prompts.ADVICE)
        model = self._models.main if is_urgent else self._models.small
        content = prompts.content_of(brief)
        call = ModelCall(
            template=template.name, prompt_sha256=prompts.prompt_sha256(template, content)
        )
        params = _params(template, content, model)
        reason = ""
        for _ in range(MAX_BAD_REPLIES):
            set_aside = dearest(model, len(template.text) + len(content), template.max_tokens)
            if not self._breaker.lets_through():
                reason = "circuit_open"
                break
            kept = 0.0 if is_urgent else KEPT_FOR_URGENT
            if not self._budget.set_aside(set_aside, kept=kept):
                reason = "budget"
                break
            price = Price(0, "")
            try:
                if self._batches is not None and not is_urgent:
                    message, is_batch = await self._batches.ask(params), True
                else:
                    message, is_batch = await self._client.messages.create(**params), False
                price = price_of(model, message.usage, is_batch=is_batch)
                call = _charged(call, message, price, is_batch=is_batch)
                self._breaker.succeeded()
                found = kind.model_validate_json(_text(message))
            except ValidationError:  # its text may quote the prompt: only its name goes on
                reason = "broken_reply"
                continue
            except BatchFailed as error:  # the service is there: no reason to leave it alone
                reason = error.reason
                break
            except (anthropic.APIError, TimeoutError) as error:
                self._breaker.failed()
                reason = next(why for raised, why in REASONS if isinstance(error, raised))
                break
            else:
                return found, msgspec.structs.replace(call, writer=model)
            finally:
                self._budget.settle(set_aside, price.microusd)
        log.warning("rules stand in for %s at %s: %s", model, template.name, reason)
        return None, msgspec.structs.replace(call, stands_in=reason)


def _params(template: Template, content: str, model: str) -> MessageCreateParamsNonStreaming:
    """Trusted and untrusted parts, each in its place; the trusted one is the same for all."""
    return {
        "model": model,
        "max_tokens": template.max_tokens,
        "system": [{"type": "text", "text": template.text, "cache_control": {"type": "ephemeral"}}],
        "messages": [{"role": "user", "content": [{"type": "text", "text": content}]}],
        "output_config": {
            "format": {"type": "json_schema", "schema": transform_schema(template.answer)}
        },
    }


def _text(message: Message) -> str:
    """The answer's text; empty, and so no valid answer, when it was cut off or refused."""
    if message.stop_reason != "end_turn":
        return ""
    return "".join(block.text for block in message.content if block.type == "text")


def _charged(call: ModelCall, message: Message, price: Price, *, is_batch: bool) -> ModelCall:
    """Add what a reply has cost to what the ones before it did."""
    usage = message.usage
    read = usage.cache_read_input_tokens or 0
    written = usage.cache_creation_input_tokens or 0
    return msgspec.structs.replace(
        call,
        input_tokens=call.input_tokens + usage.input_tokens + read + written,
        cache_read_tokens=call.cache_read_tokens + read,
        cache_write_tokens=call.cache_write_tokens + written,
        output_tokens=call.output_tokens + usage.output_tokens,
        cost_microusd=call.cost_microusd + (price.microusd if price.prices else 0),
        prices=price.prices,
        is_batch=is_batch,
    )

"""Effects that wait to be performed, each handed out to one runner for a while."""

from collections.abc import Mapping

from pm_agent.catalog import BRIEFS
from pm_agent.domain.time import SECOND_US
from pm_agent.features.quality import view as quality_view
from pm_agent.kernel.effects import Effect, RunGate
from pm_agent.kernel.engine import Engine
from pm_agent.ports import Journal
from pm_agent.runtime.backend import EffectJob

EFFECTS_AT_ONCE = 256
EFFECT_LEASE_US = 120 * SECOND_US  # then an effect without an answer is handed out again


class EffectDesk:
    """Hands out effects with all that performing them needs."""

    def __init__(self) -> None:
        self._taken: dict[str, int] = {}  # until when, by effect id

    def clear(self) -> None:
        """Forget who has what: all is handed out again."""
        self._taken.clear()

    async def take(
        self, engine: Engine, durable: int, journal: Journal, now_us: int
    ) -> list[EffectJob]:
        """Hand out the oldest effects that nobody has, of events up to the durable one."""
        pending, world = engine.outbox.pending, engine.world
        taken = self._free(pending, durable, now_us)
        gates = [effect for effect in taken if isinstance(effect.want, RunGate)]
        texts_of = [effect for effect in taken if not isinstance(effect.want, RunGate)]
        jobs = [EffectJob(e, gate_request=quality_view.gate_request(world, e)) for e in gates]
        refs = {ref for effect in texts_of for ref in BRIEFS[type(effect.want)].refs(world, effect)}
        found = await journal.read_bodies(list(refs)) if refs else {}
        texts = {ref: body.text for ref, body in found.items()}
        for effect in texts_of:
            if effect.effect_id in pending:  # else its attempt ended while the texts were read
                brief = BRIEFS[type(effect.want)].brief(world, effect, texts)
                jobs.append(EffectJob(effect, brief=brief))
        return jobs

    def _free(self, pending: Mapping[str, Effect], durable: int, now_us: int) -> list[Effect]:
        self._taken = {e: t for e, t in self._taken.items() if e in pending}
        free: list[Effect] = []
        for effect in list(pending.values()):
            if effect.position > durable or len(free) == EFFECTS_AT_ONCE:
                break
            if self._taken.get(effect.effect_id, 0) > now_us:
                continue
            self._taken[effect.effect_id] = now_us + EFFECT_LEASE_US
            free.append(effect)
        return free

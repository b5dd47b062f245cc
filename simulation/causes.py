"""Hidden causes of blockers: what each says, and how likely each remedy is to help.

Nothing in `pm_agent` may read these odds: finding them out is what the ladder is for. The oracle
knows them, and meets the very same luck. All numbers are assumptions; no public data tells them.
"""

from math import exp
from random import Random
from typing import NamedTuple, get_args

from pm_agent.domain.blocker import BlockerType
from pm_agent.domain.case import StepKind
from simulation.behaviour import lognormal_us

N_CAUSES = 40
PERSONAL = 0.3  # share that only a person can resolve
GOOD, POOR = (0.5, 0.95), (0.0, 0.1)  # odds of a remedy that fits a cause, and of one that does not
MODEST = (0.3, 0.7)  # of advice that fits
FITS = 0.5  # share of remedies that fit, beside the one that always does
# What can be tried against a type, and what the product expects it to cost (`Policy`).
REMEDIES: dict[BlockerType, tuple[StepKind, ...]] = {
    "dependency": ("known_fix", "wait", "split", "advice"),
    "needs_input": ("known_fix", "ask_help", "advice"),
    "capability": ("known_fix", "reassign", "ask_help", "split", "advice"),
    "environment": ("known_fix", "retry", "ask_help", "split", "advice"),
    "transient": ("known_fix", "retry", "advice"),
    "other": ("known_fix", "ask_help", "advice"),
}
N_RETRIES = 3
# Minutes that things take, medians; and how widely they spread (of the logarithm).
WORK_MIN = 30  # of a task; half of it is done before a blocker is met
TRY_MIN, HELP_MIN, UPSTREAM_MIN, ADVICE_MIN = 5, 8, 20, 1
SPREAD = 0.5
PERSON_MIN, PERSON_SPREAD = 45, 1.0  # as the faults of `simulation.scenario`
# What a question takes of a person, and until they are back at their own work: our assumption. Of
# the size that Iqbal and Horvitz report for alerts of mail and messages among 27 people at their
# desks ("Disruption and Recovery of Computing Tasks", CHI 2007): nearly 10 minutes with what the
# alert leads to, and 10 to 15 more until the interrupted work goes on. Read in quotations of the
# paper's summary; questions about code were not measured.
ANSWER_MIN = 20
_WORDS = (
    "build cache disk token certificate registry mirror socket migration schema index "
    "lock queue fixture snapshot layout parser grammar vendor licence header cookie "
    "session bucket region quota kernel driver compiler linker symbol archive locale "
    "timezone proxy gateway webhook payload cursor replica shard ledger invoice coupon "
    "basket checkout avatar thumbnail codec subtitle playlist"
)
WORDS = tuple(_WORDS.split())


def mean_of(median: float, spread: float = SPREAD) -> float:
    """Mean of a lognormal time."""
    return median * exp(spread**2 / 2)


class Cause(NamedTuple):
    """One reason for blockers."""

    number: int
    blocker_type: BlockerType
    words: tuple[str, ...]
    odds: dict[StepKind, float]
    has_upstream: bool  # a task that exists delivers what is missing

    @property
    def is_personal(self) -> bool:
        return not any(self.odds.values())

    def report(self, number: int) -> str:
        """What an agent says of it: the same words, other places."""
        return f"{' '.join(self.words)} fails at line {number} of /srv/app/{number % 97}.py"

    @property
    def fix(self) -> str:
        """What helps against it, if a text can."""
        return f"Remedy for {' '.join(self.words)}."


def causes(seed: int, personal: float = PERSONAL) -> list[Cause]:
    """All causes of a run. Types take turns, so each has its share of personal ones.

    Parameters
    ----------
    personal
        Share of causes that only a person can resolve.
    """
    random = Random(f"causes:{seed}")
    types = get_args(BlockerType)
    found = []
    for number in range(N_CAUSES):
        blocker_type = types[number % len(types)]
        remedies = REMEDIES[blocker_type]
        is_personal = number < N_CAUSES * personal
        odds: dict[StepKind, float] = dict.fromkeys(remedies, 0.0)
        has_upstream = blocker_type == "dependency" and not is_personal and random.random() < 0.5
        if not is_personal:
            for remedy in remedies:
                odds[remedy] = random.uniform(*(GOOD if random.random() < FITS else POOR))
            # An agent is a language model itself: another one's words alone seldom help it.
            odds["advice"] = random.uniform(*(MODEST if random.random() < FITS / 2 else POOR))
            odds["wait"] = 1.0 if has_upstream else 0.0
            odds[random.choice([r for r in remedies if r not in ("wait", "advice")])] = (
                random.uniform(*GOOD)
            )
        words = tuple(random.sample(WORDS, 6))
        found.append(Cause(number, blocker_type, words, odds, has_upstream))
    return found


class Luck:
    """What happens to the n-th incident, whichever ladder meets it."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def share(self, incident: int, what: str, time: int = 0) -> float:
        """Uniform in [0, 1)."""
        return Random(f"{self._seed}:{incident}:{what}:{time}").random()

    def span_us(self, incident: int, what: str, median_min: float, spread: float = SPREAD) -> int:
        """How long something takes this time."""
        return lognormal_us(median_min, spread, self.share(incident, what))

    def helps(self, cause: Cause, incident: int, remedy: StepKind, time: int = 0) -> bool:
        """Whether a remedy helps this time."""
        return self.share(incident, remedy, time) < cause.odds.get(remedy, 0.0)

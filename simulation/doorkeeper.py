"""Who keeps the door: issues, rotates and revokes keys, and notes who used them or was refused."""

from random import Random

from pm_agent.domain.access import (
    DenyToken,
    IssueKey,
    NoteKeysUsed,
    NoteRefusals,
    Refusals,
    RevokeKey,
    RotateKey,
)
from pm_agent.domain.envelope import Command, Principal
from pm_agent.domain.time import DAY_US, HOUR_US, MINUTE_US
from simulation.clients import Client, World

N_KEYS = 6  # so few that the same ones are issued, found full, rotated and revoked again and again
MAC = "00" * 32


class Doorkeeper(Client):
    """Acts as administrators and ingresses do, in no sensible order."""

    PAUSE_US = 10 * MINUTE_US

    def __init__(self, around: World, random: Random) -> None:
        super().__init__(around, Principal("system", "doorkeeper", "system"), random)

    def start(self) -> None:
        self._act()

    def _act(self) -> None:
        self.say(self._next())
        self.later(self.PAUSE_US // 2, 3 * self.PAUSE_US, self._act)

    def _next(self) -> Command:
        key_id = self._key_id()
        kind, fields = self.random.choice(
            (
                (IssueKey, {**self._secret(key_id), "owner": self._owner(), "lasts_us": DAY_US}),
                (RotateKey, {**self._rotated(key_id), "overlap_us": HOUR_US}),
                (RevokeKey, {"key_id": key_id}),
                (NoteKeysUsed, {"key_ids": (key_id, self._key_id())}),
                (DenyToken, {"token_id": f"jti-{key_id}", "until_us": self._soon_us()}),
                (NoteRefusals, {"refusals": (Refusals("unknown key", "127.0.0.1", 3),)}),
            )
        )
        return kind(request_id=self.request_id(), principal=self.principal, **fields)

    def _rotated(self, key_id: str) -> dict[str, str]:
        secret = self._secret(self._key_id())
        return {"key_id": key_id, "new_key_id": secret.pop("key_id"), **secret}

    def _secret(self, key_id: str) -> dict[str, str]:
        return {"key_id": key_id, "mac": MAC, "pepper": "first"}

    def _key_id(self) -> str:
        return f"K{self.random.randrange(N_KEYS)}"

    def _owner(self) -> Principal:
        return Principal("person", self.random.choice(("pat", "sam")), "lead")

    def _soon_us(self) -> int:
        return self.around.timeline.now_us + self.random.randrange(1, HOUR_US)

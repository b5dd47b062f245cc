"""Secrets that end with the process: for tests, and for servers of which nothing must last."""

from pm_agent.ports import Secret


class SecretsInMemory:
    """Fulfils `pm_agent.ports.Secrets`."""

    def __init__(self) -> None:
        self._known: dict[str, list[Secret]] = {}

    def read(self, name: str) -> list[Secret]:
        return self._known.get(name, [])

    def add(self, name: str, value: bytes, now_s: int, *, first: bool = False) -> list[Secret]:
        known = self._known.setdefault(name, [])
        if not (first and known):
            version = known[0].version + 1 if known else 1
            known.insert(0, Secret(version, value, now_s))
        return known

    def drop(self, name: str, version: int) -> None:
        self._known[name] = [one for one in self.read(name) if one.version != version]

"""Stored models: one folder a version, one small file that says which version is current.

A version is a folder of files that never change: boosters in LightGBM's text format, everything
else as JSON, the card, and ``manifest.json`` with the SHA-256 of each of them. No pickle, so a
model file can do nothing but be read. ``current.json`` is replaced in one rename: a reader sees the
old version or the new one, and a crash leaves one of them. A damaged version, or one of a schema
that this program does not know, is refused, and the version before it stays current.

::

    models/
      duration/
        current.json              {"version": "v3", "previous": ["v2", "v1"]}
        v3/
          manifest.json           schema, name, kind, SHA-256 of each file below
          card.json
          state.json
          location.txt            a booster
"""

import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import lightgbm as lgb

from models.card import Card
from models.errors import BadData

SCHEMA_VERSION = 1
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,39}")
_VERSION = re.compile(r"v([1-9][0-9]{0,8})")
_BOOSTER = ".txt"


class ModelDamaged(BadData):
    """A stored model's files are not those that were stored."""

    code = "model_damaged"
    default_next_step = "Roll back with 'pm-agent models rollback', or train a new version."


class ModelTooNew(BadData):
    """A stored model has a schema that this program does not know."""

    code = "model_too_new"
    default_next_step = "Upgrade PM Agent, or promote a version that it wrote."


class UnknownModel(BadData):
    """There is no such model or version."""

    code = "unknown_model"
    default_next_step = "List the stored ones with 'pm-agent models list'."


class Stored(NamedTuple):
    """A version as it was stored."""

    name: str
    version: str
    kind: str  # which class reads it, such as "duration"
    state: dict[str, Any]
    boosters: dict[str, lgb.Booster]
    card: Card
    digest: str  # of its manifest, which has those of all files: no other version has the same


class Entry(NamedTuple):
    """One line of the list."""

    name: str
    version: str
    is_current: bool
    problem: str  # empty: its files are whole
    card: Card | None


class Registry:
    """Versions of models in a folder.

    One process writes at a time (training is done by one learner or one person); any number read.

    Parameters
    ----------
    folder : Path
        Made with the first version.
    """

    keeps: ClassVar[int] = 20  # versions to which a rollback can go

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(
        self,
        name: str,
        kind: str,
        *,
        state: Mapping[str, Any],
        boosters: Mapping[str, lgb.Booster],
        card: Card,
    ) -> str:
        """Store a new version, not yet current; return its name.

        The folder appears under its name only when all its files are on disk.
        """
        _require(_NAME, name, "A model's name")
        place = self.folder / name
        place.mkdir(parents=True, exist_ok=True)
        newest = max((_number(version) for version in self.versions(name)), default=0)
        version = f"v{newest + 1}"
        files = {
            "state.json": _json(state),
            "card.json": card.to_json().encode(),
            **{
                f"{_require(_NAME, part, 'A booster')}{_BOOSTER}": b.model_to_string().encode()
                for part, b in boosters.items()
            },
        }
        manifest = {
            "schema": SCHEMA_VERSION,
            "name": name,
            "version": version,
            "kind": kind,
            "sha256": {file: _digest(content) for file, content in sorted(files.items())},
        }
        unfinished = place / f".{version}.{os.getpid()}"
        unfinished.mkdir()
        for file, content in {**files, "manifest.json": _json(manifest)}.items():
            _write(unfinished / file, content)
        _sync_folder(unfinished)
        unfinished.rename(place / version)
        _sync_folder(place)
        return version

    def names(self) -> list[str]:
        """Models of which there is a version."""
        if not self.folder.is_dir():
            return []
        found = [p.name for p in self.folder.iterdir() if _NAME.fullmatch(p.name)]
        return sorted(name for name in found if self.versions(name))

    def versions(self, name: str) -> list[str]:
        """Versions of a model, oldest first."""
        place = self.folder / name
        if not place.is_dir():
            return []
        found = [p.name for p in place.iterdir() if _VERSION.fullmatch(p.name)]
        return sorted(found, key=_number)

    def current(self, name: str) -> str | None:
        """The version that was promoted last and not rolled back; None before the first."""
        return self._pointer(name)["version"] or None

    def load(self, name: str, version: str | None = None) -> Stored:
        """Read a version, by default the current one.

        Raises
        ------
        UnknownModel, ModelDamaged, ModelTooNew
        """
        chosen = version or self.current(name)
        if chosen is None or chosen not in self.versions(name):
            raise UnknownModel(f"There is no {version or 'current version'} of model {name!r}.")
        place = self.folder / name / chosen
        manifest = _manifest(place)
        files = {file: _checked(place / file, sha) for file, sha in manifest["sha256"].items()}
        try:
            boosters = {
                file.removesuffix(_BOOSTER): lgb.Booster(model_str=content.decode())
                for file, content in files.items()
                if file.endswith(_BOOSTER)
            }
            card = Card.from_json(files["card.json"].decode())
            state = json.loads(files["state.json"])
        except (KeyError, ValueError, lgb.basic.LightGBMError) as error:
            raise ModelDamaged(f"{name} {chosen} cannot be read: {error}.") from error
        digest = _digest(_json(manifest))[:8]
        return Stored(name, chosen, manifest["kind"], state, boosters, card, digest)

    def promoted(self, name: str) -> list[str]:
        """The current version and those that were before it, newest first; none when stood down."""
        pointer = self._pointer(name)
        return [pointer["version"], *pointer["previous"]] if pointer["version"] else []

    def load_usable(self, name: str) -> Stored | None:
        """The current version, or the newest before it that can be read; None if there is none.

        A damaged version must not stop the product: it then works with the one before.
        """
        for version in self.promoted(name):
            try:
                return self.load(name, version)
            except BadData:
                continue
        return None

    def promote(self, name: str, version: str) -> None:
        """Make a version the current one. A version that cannot be read is refused.

        Raises
        ------
        UnknownModel, ModelDamaged, ModelTooNew
        """
        self.load(name, version)
        pointer = self._pointer(name)
        if pointer["version"] == version:
            return
        before = [pointer["version"]] if pointer["version"] else []
        previous = [v for v in [*before, *pointer["previous"]] if v != version]
        self._point(name, version, previous[: self.keeps])

    def stand_down(self, name: str, reason: str) -> None:
        """Leave no version current: rules decide until one is promoted again, or rolled back to."""
        pointer = self._pointer(name)
        if pointer["version"]:
            previous = [pointer["version"], *pointer["previous"]]
            self._point(name, "", previous[: self.keeps], reason)

    def why_stood_down(self, name: str) -> str:
        """Why no version is current although one was promoted; empty otherwise."""
        return str(self._pointer(name).get("stood_down", ""))

    def rollback(self, name: str) -> str:
        """Go back to the newest earlier version that can be read; return it.

        Raises
        ------
        UnknownModel
            There is none.
        """
        previous = list(self._pointer(name)["previous"])
        while previous:
            version = str(previous.pop(0))
            try:
                self.load(name, version)
            except BadData:
                continue
            self._point(name, version, previous)
            return version
        raise UnknownModel(f"Model {name!r} has no earlier version to go back to.")

    def entries(self) -> list[Entry]:
        """All versions of all models, with what is wrong with them."""
        return [self._entry(name, v) for name in self.names() for v in self.versions(name)]

    def _entry(self, name: str, version: str) -> Entry:
        is_current = self.current(name) == version
        try:
            return Entry(name, version, is_current, "", self.load(name, version).card)
        except BadData as error:
            return Entry(name, version, is_current, error.code, None)

    def _pointer(self, name: str) -> dict[str, Any]:
        path = self.folder / name / "current.json"
        empty = {"version": "", "previous": []}
        if not path.exists():
            return empty
        try:
            found = json.loads(path.read_bytes())
            return {
                "version": str(found["version"]),
                "previous": list(found["previous"]),
                "stood_down": str(found.get("stood_down", "")),
            }
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ModelDamaged(
                f"{path} cannot be read: {error}.",
                f"Delete it and run 'pm-agent models promote {name} VERSION'.",
            ) from error

    def _point(self, name: str, version: str, previous: list[str], stood_down: str = "") -> None:
        path = self.folder / name / "current.json"
        new = path.with_name(f".current.{os.getpid()}")
        pointer = {"version": version, "previous": previous}
        _write(new, _json(pointer | ({"stood_down": stood_down} if stood_down else {})))
        new.replace(path)
        _sync_folder(path.parent)


def _manifest(place: Path) -> dict[str, Any]:
    try:
        manifest = json.loads((place / "manifest.json").read_bytes())
        schema = int(manifest["schema"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelDamaged(f"The manifest in {place} cannot be read: {error}.") from error
    if schema != SCHEMA_VERSION:
        raise ModelTooNew(f"{place} has schema {schema}; this program knows {SCHEMA_VERSION}.")
    digests = manifest.get("sha256")
    if not isinstance(digests, dict) or not all(Path(file).name == file for file in digests):
        raise ModelDamaged(f"The manifest in {place} lists no files, or files elsewhere.")
    return dict(manifest)


def _checked(path: Path, sha256: str) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelDamaged(f"{path} cannot be read: {error}.") from error
    if _digest(content) != sha256:
        raise ModelDamaged(f"{path} has changed since it was stored.")
    return content


def _require(pattern: re.Pattern[str], value: str, what: str) -> str:
    if not pattern.fullmatch(value):
        raise UnknownModel(f"{what} is not {value!r}: it matches {pattern.pattern}.")
    return value


def _number(version: str) -> int:
    return int(version[1:])


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _json(value: Any) -> bytes:
    return json.dumps(value, indent=1, sort_keys=True, allow_nan=False).encode()


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

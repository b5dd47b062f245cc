"""Secrets at rest: one JSON file in which each secret is sealed under a data key of its own.

Envelope encryption: the secret is sealed with AES-256-GCM under a fresh data key, and the data key
is wrapped by a key-encryption key (`pm_agent.ports.KeyEncryption`). Workspace, name and version are
authenticated with both, so that no record can stand in for another. The file is read again when it
changed, so a rotation reaches running servers by itself.
"""

import fcntl
import os
import secrets
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from pm_agent.adapters.kek_local import KEY_BYTES, NONCE_BYTES
from pm_agent.domain.errors import SecretsLocked
from pm_agent.ports import KeyEncryption, Secret, Wrapped


class Sealed(msgspec.Struct, frozen=True):
    """One version of a secret as it lies on the disk."""

    name: str
    version: int
    made_at_s: int
    wrapped_by: str  # version of the key-encryption key
    data_key: bytes  # wrapped
    sealed: bytes  # nonce, ciphertext and tag


class SecretsFile:
    """Secrets of one workspace in a file.

    Parameters
    ----------
    path
        Of the file; it is made with the first secret, for its owner's eyes alone.
    keys
        Finds what wraps and unwraps the data keys; asked again when the file has changed.
    workspace
        Whose secrets they are.
    """

    def __init__(self, path: Path, keys: Callable[[], KeyEncryption], workspace: str) -> None:
        self._path = path
        self._find_keys = keys
        self._held: KeyEncryption | None = None
        self._workspace = workspace
        self._stamp: tuple[int, int, int] | None = None
        self._known: dict[str, list[Secret]] = {}

    def read(self, name: str) -> list[Secret]:
        stamp = self._stamp_now()
        if stamp != self._stamp:
            self._held = None
            known: dict[str, list[Secret]] = {}
            for one in sorted(self._load(), key=lambda s: -s.version):
                opened = Secret(one.version, self._open(one), one.made_at_s)
                known.setdefault(one.name, []).append(opened)
            self._known, self._stamp = known, stamp
        return self._known.get(name, [])

    def add(self, name: str, value: bytes, now_s: int, *, first: bool = False) -> list[Secret]:
        with self._alone() as records:
            versions = [one.version for one in records if one.name == name]
            if not (first and versions):
                version = max(versions, default=0) + 1
                self._write([*records, self._seal(name, version, value, now_s)])
        return self.read(name)

    def drop(self, name: str, version: int) -> None:
        with self._alone() as records:
            self._write([r for r in records if (r.name, r.version) != (name, version)])

    def rewrap(self) -> int:
        """Seal everything anew, under fresh data keys and the newest key-encryption key.

        Returns how many secrets there are.
        """
        with self._alone() as records:
            self._held = None
            anew = [self._seal(r.name, r.version, self._open(r), r.made_at_s) for r in records]
            self._write(anew)
        return len(anew)

    def wrapped_by(self) -> dict[str, int]:
        """How many secrets each version of the key-encryption key protects."""
        return dict(Counter(one.wrapped_by for one in self._load()))

    # -- sealing ------------------------------------------------------------------------------

    def _keys(self) -> KeyEncryption:
        if self._held is None:
            self._held = self._find_keys()
        return self._held

    def _about(self, name: str, version: int) -> bytes:
        return msgspec.json.encode([self._workspace, name, version])

    def _seal(self, name: str, version: int, value: bytes, now_s: int) -> Sealed:
        about = self._about(name, version)
        data_key, nonce = secrets.token_bytes(KEY_BYTES), secrets.token_bytes(NONCE_BYTES)
        wrapped = self._keys().wrap(data_key, about)
        sealed = nonce + AESGCM(data_key).encrypt(nonce, value, about)
        return Sealed(name, version, now_s, wrapped.version, wrapped.data, sealed)

    def _open(self, one: Sealed) -> bytes:
        about = self._about(one.name, one.version)
        data_key = self._keys().unwrap(Wrapped(one.wrapped_by, one.data_key), about)
        nonce, sealed = one.sealed[:NONCE_BYTES], one.sealed[NONCE_BYTES:]
        try:
            return AESGCM(data_key).decrypt(nonce, sealed, about)
        except InvalidTag as error:
            message = f"The secret {one.name} in {self._path} was changed."
            raise SecretsLocked(message) from error

    # -- the file -----------------------------------------------------------------------------

    def _stamp_now(self) -> tuple[int, int, int] | None:
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size

    def _load(self) -> list[Sealed]:
        try:
            raw = self._path.read_bytes()
        except FileNotFoundError:
            return []
        try:
            return msgspec.json.decode(raw, type=list[Sealed])
        except msgspec.MsgspecError as error:
            message = f"{self._path} is not a file of secrets."
            raise SecretsLocked(message) from error

    @contextmanager
    def _alone(self) -> Iterator[list[Sealed]]:
        """Let nobody else change the file meanwhile."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(self._path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield self._load()
        finally:
            os.close(lock)

    def _write(self, records: list[Sealed]) -> None:
        beside = self._path.with_name(f"{self._path.name}.{secrets.token_hex(4)}")
        handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(msgspec.json.encode(records))
            file.flush()
            os.fsync(file.fileno())
        beside.replace(self._path)

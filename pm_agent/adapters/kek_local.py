"""Key-encryption keys that this machine holds: given in the environment, or kept in a file.

Both are written as versions, newest first: ``2:BASE64,1:BASE64``; each key has 32 random bytes.
Data keys are wrapped with AES-256-GCM under a random nonce. Whoever reads the file or the
environment can open all secrets; against that only a KMS helps (`pm_agent.ports.KeyEncryption`).
"""

import base64
import os
import secrets
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from pm_agent.domain.errors import InvalidInput, SecretsLocked
from pm_agent.ports import Wrapped

KEY_BYTES, NONCE_BYTES = 32, 12  # as AES-256-GCM wants them


class LocalKeys:
    """Key-encryption keys in memory, by version; the first one wraps.

    Parameters
    ----------
    versions
        Version to key of 32 bytes, newest first; at least one.
    """

    def __init__(self, versions: dict[str, bytes]) -> None:
        self._versions = versions

    @property
    def version(self) -> str:
        return next(iter(self._versions))

    def wrap(self, data_key: bytes, about: bytes) -> Wrapped:
        nonce = secrets.token_bytes(NONCE_BYTES)
        sealed = AESGCM(self._versions[self.version]).encrypt(nonce, data_key, about)
        return Wrapped(self.version, nonce + sealed)

    def unwrap(self, wrapped: Wrapped, about: bytes) -> bytes:
        key = self._versions.get(wrapped.version)
        if key is None:
            message = f"Version {wrapped.version} of the key-encryption key is not here."
            raise SecretsLocked(message)
        nonce, sealed = wrapped.data[:NONCE_BYTES], wrapped.data[NONCE_BYTES:]
        try:
            return AESGCM(key).decrypt(nonce, sealed, about)
        except InvalidTag as error:
            message = f"Version {wrapped.version} of the key-encryption key is another key."
            raise SecretsLocked(message) from error


def parse_keys(text: str) -> dict[str, bytes]:
    """Read ``2:BASE64,1:BASE64``; a key without a version is version 1.

    Raises
    ------
    InvalidInput
        The text itself is never named: it is secret.
    """
    versions: dict[str, bytes] = {}
    for part in text.replace("\n", ",").split(","):
        version, _, encoded = part.strip().rpartition(":")
        if not encoded:
            continue
        try:
            key = base64.b64decode(encoded, validate=True)
        except ValueError:
            key = b""
        if len(key) != KEY_BYTES:
            message = "A key-encryption key is not 32 bytes in base64."
            raise InvalidInput(message, "Make one: openssl rand -base64 32")
        versions.setdefault(version or "1", key)
    if not versions:
        message = "There is no key-encryption key."
        raise InvalidInput(message, "Make one: openssl rand -base64 32")
    return versions


def read_key_file(path: Path) -> LocalKeys:
    """Read a file of keys, which is made with one new key when it is missing."""
    try:
        text = path.read_text()
    except FileNotFoundError:
        text = _new_file(path)
    return LocalKeys(parse_keys(text))


def add_key(path: Path) -> str:
    """Put a new version in front of a file's keys and return it."""
    known = parse_keys(path.read_text())
    version = str(max(int(v) for v in known if v.isdigit()) + 1)
    _replace(path, f"{version}:{_new_key()}\n{path.read_text().strip()}\n")
    return version


def keep_newest(path: Path) -> None:
    """Forget all versions of a file but the newest: nothing is wrapped with them any more."""
    version, key = next(iter(parse_keys(path.read_text()).items()))
    _replace(path, f"{version}:{base64.b64encode(key).decode()}\n")


def _new_key() -> str:
    return base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()


def _new_file(path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = f"1:{_new_key()}\n"
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:  # another process was first
        return path.read_text()
    with os.fdopen(handle, "w") as file:
        file.write(text)
    return text


def _replace(path: Path, text: str) -> None:
    """Change a file at once for all who read it."""
    beside = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)

"""What every place for key-encryption keys must do: in memory, in a file, or in a KMS."""

import secrets
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.fernet import Fernet, InvalidToken

from pm_agent.adapters.kek_local import LocalKeys, parse_keys, read_key_file
from pm_agent.domain.errors import InvalidInput, SecretsLocked
from pm_agent.ports import KeyEncryption, Wrapped


class PretendKms:
    """A service that never shows its keys, as an operator's own adapter would be."""

    def __init__(self) -> None:
        self._key = Fernet(Fernet.generate_key())
        self.version = "key/7"

    def wrap(self, data_key: bytes, about: bytes) -> Wrapped:
        return Wrapped(self.version, self._key.encrypt(len(about).to_bytes(2) + about + data_key))

    def unwrap(self, wrapped: Wrapped, about: bytes) -> bytes:
        if wrapped.version != self.version:
            raise SecretsLocked
        try:
            plain = self._key.decrypt(wrapped.data)
        except InvalidToken as error:
            raise SecretsLocked from error
        size = 2 + int.from_bytes(plain[:2])
        if plain[2:size] != about:
            raise SecretsLocked
        return plain[size:]


MAKERS: dict[str, Callable[[Path], KeyEncryption]] = {
    "environment": lambda _: LocalKeys({"2": b"n" * 32, "1": b"o" * 32}),
    "file": lambda folder: read_key_file(folder / "kek"),
    "kms": lambda _: PretendKms(),
}


@pytest.fixture(params=MAKERS)
def keys(request: pytest.FixtureRequest, tmp_path: Path) -> KeyEncryption:
    return MAKERS[request.param](tmp_path)


def test_a_data_key_comes_back_as_it_was_wrapped(keys: KeyEncryption) -> None:
    data_key = secrets.token_bytes(32)
    wrapped = keys.wrap(data_key, b"pepper 1")
    assert wrapped.version == keys.version
    assert data_key not in wrapped.data
    assert keys.unwrap(wrapped, b"pepper 1") == data_key
    assert keys.wrap(data_key, b"pepper 1").data != wrapped.data


def test_nothing_but_what_was_wrapped_is_unwrapped(keys: KeyEncryption) -> None:
    wrapped = keys.wrap(b"k" * 32, b"pepper 1")
    changed = bytearray(wrapped.data)
    changed[-1] ^= 1
    for bad, about in (
        (wrapped, b"signing 1"),
        (Wrapped(wrapped.version, bytes(changed)), b"pepper 1"),
        (Wrapped("another version", wrapped.data), b"pepper 1"),
    ):
        with pytest.raises(SecretsLocked):
            keys.unwrap(bad, about)


@pytest.mark.parametrize("text", ["", "short", "1:c2hvcnQ=", "1:not base64!"])
def test_what_is_no_key_is_refused_without_being_shown(text: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_keys(text)
    assert not text or text not in str(refused.value)

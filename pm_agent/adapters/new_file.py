"""Files that appear whole or not at all."""

import os
from pathlib import Path

from pm_agent.domain.errors import AlreadyExists


def require_absent(path: Path) -> None:
    """Refuse to write over something.

    Raises
    ------
    AlreadyExists
    """
    if path.exists() or path.is_symlink():
        message = f"There is a file at {path} already."
        raise AlreadyExists(message, "Choose another name for the copy, or move that file away.")


def settle(written: Path, target: Path) -> None:
    """Give a finished file its name, so that it is there after a crash too."""
    _sync(written)
    require_absent(target)  # it may have appeared meanwhile
    written.rename(target)
    _sync(target.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

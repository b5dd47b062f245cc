"""A folder for the time of a benchmark, on a disk: on a memory file system no commit is durable."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.report import progress

IN_MEMORY = frozenset({"tmpfs", "ramfs"})


@contextmanager
def scratch(parent: Path | None = None) -> Iterator[Path]:
    """Make a folder, and remove it with all that is in it.

    Parameters
    ----------
    parent
        Where; the system's folder for temporary files by default.
    """
    folder = Path(tempfile.mkdtemp(prefix="pm-bench-", dir=parent))
    # PostgreSQL drops root's rights and must still be able to pass through to its own folder.
    folder.chmod(0o755)
    if file_system(folder) in IN_MEMORY:
        progress(f"{folder} is in memory: commits cost less than on a disk. Set TMPDIR.")
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def file_system(folder: Path) -> str:
    """Name of the file system that holds a folder, or an empty string where it is not known."""
    mounts = Path("/proc/mounts")
    if not mounts.exists():
        return ""
    found, longest = "", -1
    resolved = folder.resolve()
    for line in mounts.read_text().splitlines():
        _, point, kind = line.split(" ")[:3]
        if resolved.is_relative_to(point) and len(point) > longest:
            found, longest = kind, len(point)
    return found

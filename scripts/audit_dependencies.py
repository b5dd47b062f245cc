"""Look for known vulnerabilities in the locked packages, and say for how many nothing is known.

``pip-audit`` asks the package index. The index at hand may be a mirror without vulnerability data:
then it passes over every package, which is no result. With ``--where-possible`` that is told and
is no failure; without, all packages must have been looked up.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ASK = ("--disable-pip", "--no-deps", "--progress-spinner=off", "--format=json")


def verdict(dependencies: list[dict[str, Any]], *, where_possible: bool) -> tuple[int, list[str]]:
    """Return the exit code and what to print, from ``pip-audit``'s list."""
    skipped = [one["name"] for one in dependencies if "skip_reason" in one]
    told = [
        f"{one['name']} {one['version']}: {found['id']}, fixed in "
        + (", ".join(found.get("fix_versions", ())) or "no version yet")
        for one in dependencies
        for found in one.get("vulns", ())
    ]
    n_known = len(dependencies) - len(skipped)
    is_bad = bool(told) or not dependencies or (bool(skipped) and not where_possible)
    told.append(f"{n_known} of {len(dependencies)} packages were looked up.")
    if skipped:
        told.append(
            f"NOT AUDITED: the package index at hand knows no vulnerability data of {len(skipped)} "
            "packages. Audit where the public index can be reached."
        )
    return int(is_bad), told


def main() -> int:
    """Audit the lock file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("lock", type=Path, nargs="?", default=Path("requirements.lock"))
    parser.add_argument("--where-possible", action="store_true")
    given = parser.parse_args()
    audit = Path(sys.executable).with_name("pip-audit")
    ran = subprocess.run(
        [audit, *ASK, "--requirement", given.lock], capture_output=True, text=True, check=False
    )
    try:
        dependencies = json.loads(ran.stdout)["dependencies"]
    except (ValueError, KeyError):  # it could not ask at all
        sys.stderr.write(ran.stderr)
        dependencies = [{"name": given.lock.name, "skip_reason": "the index gave no answer"}]
    code, told = verdict(dependencies, where_possible=given.where_possible)
    sys.stdout.write("\n".join(told) + "\n")
    return code


if __name__ == "__main__":
    sys.exit(main())

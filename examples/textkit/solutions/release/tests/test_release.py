import tomllib
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


class ReleaseTest(unittest.TestCase):
    def test_the_newest_change_is_of_this_version(self):
        project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
        changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
        newest = next(line for line in changes.splitlines() if line.startswith("## "))
        self.assertEqual(newest, f"## {project['project']['version']}")

    def test_the_readme_and_the_end_to_end_tests_are_there(self):
        for name in ["README.md", "tests/test_end_to_end.py", "textkit/cli.py"]:
            self.assertTrue((ROOT / name).is_file(), name)

    def test_every_module_has_tests(self):
        tests = "".join(p.read_text(encoding="utf-8") for p in (ROOT / "tests").glob("*.py"))
        for path in (ROOT / "textkit").glob("*.py"):
            if not path.name.startswith("__"):
                self.assertIn(f"textkit.{path.stem} import", tests)

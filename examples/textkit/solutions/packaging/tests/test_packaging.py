import ast
import sys
import tomllib
import unittest
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


class PackagingTest(unittest.TestCase):
    def setUp(self):
        self.project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

    def test_the_script_exists(self):
        module, _, function = self.project["project"]["scripts"]["textkit"].partition(":")
        self.assertTrue(callable(getattr(import_module(module), function)))

    def test_all_packages_are_listed(self):
        folders = {p.parent for p in (ROOT / "textkit").rglob("__init__.py")}
        names = {".".join(f.relative_to(ROOT).parts) for f in folders}
        self.assertEqual(set(self.project["tool"]["setuptools"]["packages"]), names)

    def test_only_the_standard_library_is_imported(self):
        allowed = {*sys.stdlib_module_names, "textkit"}
        for path in (ROOT / "textkit").rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ImportFrom):
                    self.assertIn((node.module or "").split(".")[0], allowed, path.name)
                elif isinstance(node, ast.Import):
                    for name in node.names:
                        self.assertIn(name.name.split(".")[0], allowed, path.name)

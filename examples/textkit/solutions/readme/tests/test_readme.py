import doctest
import unittest
from pathlib import Path

from textkit.registry import discover

README = Path(__file__).resolve().parent.parent / "README.md"


class ReadmeTest(unittest.TestCase):
    def test_its_examples_are_true(self):
        failed, tried = doctest.testfile(str(README), module_relative=False, encoding="utf-8")
        self.assertEqual(failed, 0)
        self.assertGreater(tried, 4)

    def test_it_names_every_command(self):
        line = README.read_text(encoding="utf-8").split("Commands: ")[1].strip(" .\n")
        self.assertEqual(line.split(", "), sorted(discover()))

import unittest

from textkit.registry import discover


class TableCommandsTest(unittest.TestCase):
    def run_command(self, name, text, option=None):
        return discover()[name].run(text, option)

    def test_top(self):
        self.assertIn("| the  |     2 |", self.run_command("top", "the cat the", "1"))

    def test_table_takes_its_delimiter_as_option(self):
        self.assertIn(
            "| 1   | x   |".replace("1  ", "  1"), self.run_command("table", "a;b\n1;x", ";")
        )

    def test_contents(self):
        self.assertEqual(self.run_command("contents", "# One"), "- I. [One](#one)")

    def test_report(self):
        self.assertTrue(self.run_command("report", "Some text.").startswith("# Report"))

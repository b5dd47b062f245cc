import unittest

from textkit.errors import TextkitError
from textkit.tables import markdown_table


class TablesTest(unittest.TestCase):
    def test_numbers_are_aligned_to_the_right(self):
        self.assertEqual(
            markdown_table(["word", "n"], [["the", 12], ["cat", 3]]),
            "| word |   n |\n| ---- | --: |\n| the  |  12 |\n| cat  |   3 |",
        )

    def test_a_bar_in_a_cell_is_escaped(self):
        self.assertIn("a\\|b", markdown_table(["x"], [["a|b"]]))

    def test_a_line_break_in_a_cell_becomes_a_space(self):
        self.assertIn("| a b |", markdown_table(["x"], [["a\nb"]]))

    def test_a_row_of_another_length_is_refused(self):
        with self.assertRaisesRegex(TextkitError, "Row 2 has 1 cells"):
            markdown_table(["a", "b"], [["1", "2"], ["3"]])

import unittest

from textkit.csvs import csv_to_markdown
from textkit.errors import TextkitError


class CsvsTest(unittest.TestCase):
    def test_quoted_cells_may_hold_the_delimiter(self):
        table = csv_to_markdown('name,note\nAda,"first, best"\n')
        self.assertIn("| Ada  | first, best |", table)

    def test_a_short_row_is_filled_up(self):
        self.assertEqual(csv_to_markdown("a,b\n1").count("|"), 9)

    def test_a_long_row_is_refused(self):
        with self.assertRaisesRegex(TextkitError, "Line 2"):
            csv_to_markdown("a\n1,2")

    def test_empty_input_is_refused(self):
        with self.assertRaises(TextkitError):
            csv_to_markdown("")

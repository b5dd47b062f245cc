import unittest

from textkit.report import report
from textkit.wrapping import DEFAULT_WIDTH

TEXT = "The cat sat on the mat. " * 20


class ReportTest(unittest.TestCase):
    def test_it_names_numbers_and_frequent_words(self):
        made = report(TEXT, n=1)
        self.assertIn("| words            | 120.0 |".replace("120.0", "  120"), made)
        self.assertIn("| the  |    40 |", made)

    def test_the_beginning_is_wrapped(self):
        beginning = report(TEXT).split("## Beginning")[1]
        self.assertLessEqual(max(map(len, beginning.splitlines())), DEFAULT_WIDTH)

    def test_an_empty_text_has_a_report_too(self):
        self.assertIn("(empty)", report(""))

import unittest

from textkit.outline import contents, headings

TEXT = "# First Steps\ntext\n## Install it\n# Café ##\n"


class OutlineTest(unittest.TestCase):
    def test_headings_with_their_levels(self):
        self.assertEqual(headings(TEXT), [(1, "First Steps"), (2, "Install it"), (1, "Café")])

    def test_contents_are_numbered_and_linked(self):
        self.assertEqual(
            contents(TEXT),
            "- I. [First Steps](#first-steps)\n  - [Install it](#install-it)\n- II. [Café](#cafe)",
        )

    def test_a_text_without_headings_has_no_contents(self):
        self.assertEqual(contents("just text"), "")

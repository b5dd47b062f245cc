import unittest

from textkit.alignment import display_width, pad


class AlignmentTest(unittest.TestCase):
    def test_wide_characters_take_two_columns(self):
        self.assertEqual(display_width("日本"), 4)
        self.assertEqual(display_width("abc"), 3)

    def test_a_combining_accent_takes_none(self):
        self.assertEqual(display_width("e\u0301"), 1)

    def test_padding_on_each_side(self):
        self.assertEqual(pad("ab", 5), "ab   ")
        self.assertEqual(pad("ab", 5, "right"), "   ab")
        self.assertEqual(pad("ab", 5, "center"), " ab  ")

    def test_a_text_that_is_too_long_stays_whole(self):
        self.assertEqual(pad("abcdef", 3), "abcdef")

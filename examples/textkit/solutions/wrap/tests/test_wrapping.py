import unittest

from textkit.errors import TextkitError
from textkit.wrapping import DEFAULT_WIDTH, wrap, wrap_paragraphs


class WrappingTest(unittest.TestCase):
    def test_no_line_is_longer_than_the_width(self):
        lines = wrap("the quick brown fox jumps over the lazy dog", 12)
        self.assertEqual(lines, ["the quick", "brown fox", "jumps over", "the lazy dog"])

    def test_a_long_word_stands_alone(self):
        self.assertEqual(wrap("a incomprehensible b", 5), ["a", "incomprehensible", "b"])

    def test_the_default_width_was_decided(self):
        self.assertGreaterEqual(DEFAULT_WIDTH, 20)
        self.assertLessEqual(max(map(len, wrap("word " * 200))), DEFAULT_WIDTH)

    def test_paragraphs_stay_apart(self):
        self.assertEqual(wrap_paragraphs("a b\n\nc d", 1), "a\nb\n\nc\nd")

    def test_a_width_of_zero_is_refused(self):
        with self.assertRaises(TextkitError):
            wrap("a", 0)

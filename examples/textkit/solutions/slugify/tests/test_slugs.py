import unittest

from textkit.errors import TextkitError
from textkit.slugs import slugify


class SlugsTest(unittest.TestCase):
    def test_words_are_joined_by_single_dashes(self):
        self.assertEqual(slugify("  Crème -- Brûlée, please! "), "creme-brulee-please")

    def test_a_long_name_is_cut_at_a_dash(self):
        self.assertEqual(slugify("one two three", 8), "one-two")

    def test_one_long_word_is_cut_anywhere(self):
        self.assertEqual(slugify("incomprehensible", 5), "incom")

    def test_a_text_without_letters_is_refused(self):
        with self.assertRaises(TextkitError):
            slugify("?!")

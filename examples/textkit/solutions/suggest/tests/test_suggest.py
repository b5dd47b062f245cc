import unittest

from textkit.suggest import Speller


class SuggestTest(unittest.TestCase):
    def setUp(self):
        self.speller = Speller("the cat sat on the mat and the bat")

    def test_a_known_word_is_right(self):
        self.assertEqual(self.speller.suggest("CAT"), ["cat"])

    def test_nearer_words_come_first(self):
        self.assertEqual(self.speller.suggest("matt")[0], "mat")

    def test_among_equally_near_words_the_frequent_one_comes_first(self):
        self.assertEqual(self.speller.suggest("thx", limit=1), ["the"])

    def test_nothing_near_gives_nothing(self):
        self.assertEqual(self.speller.suggest("elephant"), [])

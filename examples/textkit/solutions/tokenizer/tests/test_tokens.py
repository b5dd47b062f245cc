import unittest

from textkit.tokens import sentences, words


class TokensTest(unittest.TestCase):
    def test_apostrophes_and_hyphens_stay_inside_words(self):
        self.assertEqual(words("Don't re-use it!"), ["Don't", "re-use", "it"])

    def test_letters_of_all_scripts_are_words(self):
        self.assertEqual(words("naïve Ωmega 7"), ["naïve", "Ωmega", "7"])

    def test_a_text_without_words_has_none(self):
        self.assertEqual(words(" -- ... "), [])

    def test_sentences_end_at_marks_before_a_capital(self):
        self.assertEqual(sentences("It rains. Why? We run!"), ["It rains.", "Why?", "We run!"])

    def test_a_point_inside_a_sentence_does_not_end_it(self):
        self.assertEqual(sentences("Version 1.2 is out."), ["Version 1.2 is out."])

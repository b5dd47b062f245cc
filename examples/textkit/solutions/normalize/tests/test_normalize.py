import unittest

from textkit.normalize import fold, letters, strip_accents


class NormalizeTest(unittest.TestCase):
    def test_accents_are_taken_away(self):
        self.assertEqual(strip_accents("Crème brûlée"), "Creme brulee")

    def test_folding_ignores_case(self):
        self.assertEqual(fold("STRASSE"), fold("Straße"))

    def test_letters_leave_out_everything_else(self):
        self.assertEqual(letters("A man, a plan: 1!"), "amanaplan1")

import unittest

from textkit.counts import letter_shares, top_words, word_counts


class CountsTest(unittest.TestCase):
    def test_case_and_accents_do_not_matter(self):
        self.assertEqual(word_counts("Café cafe CAFÉ tea"), {"cafe": 3, "tea": 1})

    def test_ties_come_in_alphabetical_order(self):
        self.assertEqual(top_words("b a c b", 2), [("b", 2), ("a", 1)])

    def test_shares_add_up_to_one(self):
        shares = letter_shares("Hello, World 42")
        self.assertAlmostEqual(sum(shares.values()), 1.0)
        self.assertAlmostEqual(shares["l"], 0.3)

    def test_a_text_without_letters_has_no_shares(self):
        self.assertEqual(letter_shares("123"), {})

import unittest

from textkit.distance import levenshtein, similarity


class DistanceTest(unittest.TestCase):
    def test_known_distances(self):
        for left, right, expected in [
            ("kitten", "sitting", 3),
            ("flaw", "lawn", 2),
            ("", "abc", 3),
            ("same", "same", 0),
        ]:
            with self.subTest(left=left, right=right):
                self.assertEqual(levenshtein(left, right), expected)

    def test_the_order_does_not_matter(self):
        self.assertEqual(levenshtein("short", "a longer one"), levenshtein("a longer one", "short"))

    def test_similarity_lies_between_zero_and_one(self):
        self.assertEqual(similarity("", ""), 1.0)
        self.assertEqual(similarity("abc", "xyz"), 0.0)
        self.assertAlmostEqual(similarity("abcd", "abcx"), 0.75)

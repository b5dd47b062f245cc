import random
import unittest

from textkit.distance import levenshtein
from textkit.near import within


class NearTest(unittest.TestCase):
    def test_it_agrees_with_the_plain_distance(self):
        chance = random.Random(7)
        for _ in range(300):
            left = "".join(chance.choices("abc", k=chance.randint(0, 9)))
            right = "".join(chance.choices("abc", k=chance.randint(0, 9)))
            limit = chance.randint(0, 5)
            exact = levenshtein(left, right)
            expected = exact if exact <= limit else None
            with self.subTest(left=left, right=right, limit=limit):
                self.assertEqual(within(left, right, limit), expected)

    def test_very_different_lengths_are_decided_at_once(self):
        self.assertIsNone(within("a", "a" * 100_000, 3))

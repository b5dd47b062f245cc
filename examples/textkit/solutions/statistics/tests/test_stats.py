import unittest

from textkit.stats import describe


class StatsTest(unittest.TestCase):
    def test_a_small_text(self):
        stats = describe("The cat sat. The dog ran away!")
        self.assertEqual((stats.words, stats.distinct, stats.sentences), (7, 6, 2))
        self.assertAlmostEqual(stats.mean_sentence, 3.5)
        self.assertAlmostEqual(stats.richness, 6 / 7)

    def test_an_empty_text_is_all_zero(self):
        stats = describe("")
        self.assertEqual((stats.words, stats.mean_word, stats.richness), (0, 0.0, 0.0))

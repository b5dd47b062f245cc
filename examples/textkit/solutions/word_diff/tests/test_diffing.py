import unittest

from textkit.diffing import word_diff


class DiffingTest(unittest.TestCase):
    def test_a_replaced_word_is_marked_twice(self):
        self.assertEqual(word_diff("the old cat", "the new cat"), "the [-old-] {+new+} cat")

    def test_equal_texts_have_no_marks(self):
        self.assertEqual(word_diff("same words", "same words"), "same words")

    def test_added_and_removed_ends(self):
        self.assertEqual(word_diff("a b", "b c"), "[-a-] b {+c+}")

import unittest

from textkit.palindromes import is_palindrome, longest_palindrome


class PalindromesTest(unittest.TestCase):
    def test_case_spaces_and_accents_do_not_matter(self):
        self.assertTrue(is_palindrome("A man, a plan, a canal: Panama"))
        self.assertTrue(is_palindrome("Ésope reste ici et se repose"))

    def test_other_texts_are_none(self):
        self.assertFalse(is_palindrome("textkit"))
        self.assertFalse(is_palindrome("a"))

    def test_the_longest_one_is_found(self):
        self.assertEqual(longest_palindrome("xx racecar abba"), "racecar")
        self.assertEqual(longest_palindrome("abc"), "")

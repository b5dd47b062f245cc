import unittest

from textkit.caesar import encrypt
from textkit.codebreak import crack, find_key
from textkit.errors import TextkitError

CLEAR = "It was a bright cold day in April, and the clocks were striking thirteen."


class CodebreakTest(unittest.TestCase):
    def test_every_key_is_found(self):
        for key in range(26):
            with self.subTest(key=key):
                self.assertEqual(find_key(encrypt(CLEAR, key)), key)

    def test_the_clear_text_comes_out(self):
        self.assertEqual(crack(encrypt(CLEAR, 11)), CLEAR)

    def test_a_text_without_letters_is_refused(self):
        with self.assertRaises(TextkitError):
            crack("12 34")

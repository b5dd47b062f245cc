import unittest

from textkit.caesar import decrypt, encrypt
from textkit.errors import TextkitError


class CaesarTest(unittest.TestCase):
    def test_letters_are_shifted_around_the_end(self):
        self.assertEqual(encrypt("Xyz, abc!", 3), "Abc, def!")

    def test_decrypting_undoes_every_key(self):
        for key in range(-30, 31):
            with self.subTest(key=key):
                self.assertEqual(decrypt(encrypt("Hello", key), key), "Hello")

    def test_a_key_that_is_no_number_is_refused(self):
        with self.assertRaises(TextkitError):
            encrypt("a", "b")

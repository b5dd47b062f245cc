import unittest

from textkit.errors import TextkitError
from textkit.roman import from_roman, to_roman


class RomanTest(unittest.TestCase):
    def test_known_numerals(self):
        for number, numeral in [(1, "I"), (4, "IV"), (1994, "MCMXCIV"), (3999, "MMMCMXCIX")]:
            with self.subTest(number=number):
                self.assertEqual(to_roman(number), numeral)

    def test_there_and_back_is_the_same(self):
        for number in range(1, 4000, 7):
            self.assertEqual(from_roman(to_roman(number)), number)

    def test_unusual_writing_is_refused(self):
        for numeral in ["", "IIII", "IC", "VX", "hello"]:
            with self.subTest(numeral=numeral), self.assertRaises(TextkitError):
                from_roman(numeral)

    def test_numbers_out_of_range_are_refused(self):
        for number in [0, -1, 4000]:
            with self.subTest(number=number), self.assertRaises(TextkitError):
                to_roman(number)

import unittest

from textkit.registry import discover


class CodeCommandsTest(unittest.TestCase):
    def run_command(self, name, text, option=None):
        return discover()[name].run(text, option)

    def test_encrypt_and_decrypt(self):
        self.assertEqual(self.run_command("encrypt", "abc", "1"), "bcd")
        self.assertEqual(self.run_command("decrypt", "bcd", "1"), "abc")

    def test_crack(self):
        secret = self.run_command("encrypt", "the rain in the plain stays there", "5")
        self.assertEqual(self.run_command("crack", secret), "the rain in the plain stays there")

    def test_roman_both_ways(self):
        self.assertEqual(self.run_command("roman", " 42\n"), "XLII")
        self.assertEqual(self.run_command("roman", "xlii"), "42")

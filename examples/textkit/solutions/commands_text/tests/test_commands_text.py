import unittest

from textkit.registry import discover


class TextCommandsTest(unittest.TestCase):
    def run_command(self, name, text, option=None):
        return discover()[name].run(text, option)

    def test_slug(self):
        self.assertEqual(self.run_command("slug", "Hello, World!"), "hello-world")

    def test_wrap_takes_its_width_as_option(self):
        self.assertEqual(self.run_command("wrap", "a b c", "3"), "a b\nc")

    def test_diff_splits_its_input(self):
        self.assertEqual(self.run_command("diff", "a b\n---\na c"), "a [-b-] {+c+}")

    def test_palindrome(self):
        self.assertEqual(self.run_command("palindrome", "my racecar!"), "racecar")

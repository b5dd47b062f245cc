import unittest

from textkit.errors import TextkitError
from textkit.registry import Command, discover, whole_number


class RegistryTest(unittest.TestCase):
    def test_what_is_found_are_commands_under_their_names(self):
        for name, command in discover().items():
            self.assertIsInstance(command, Command)
            self.assertEqual(command.name, name)
            self.assertTrue(command.help)

    def test_an_option_that_is_no_number_is_refused(self):
        self.assertEqual(whole_number("7", 1), 7)
        self.assertEqual(whole_number(None, 1), 1)
        with self.assertRaises(TextkitError):
            whole_number("seven", 1)

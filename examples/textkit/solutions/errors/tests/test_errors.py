import unittest

from textkit.errors import TextkitError, require


class ErrorsTest(unittest.TestCase):
    def test_a_false_condition_raises_with_its_message(self):
        with self.assertRaisesRegex(TextkitError, "too long"):
            require(False, "too long")

    def test_a_true_condition_passes(self):
        require(True, "never shown")

    def test_the_error_is_a_value_error(self):
        self.assertTrue(issubclass(TextkitError, ValueError))

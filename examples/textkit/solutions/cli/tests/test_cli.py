import contextlib
import io
import unittest

from textkit.cli import main
from textkit.registry import discover


class CliTest(unittest.TestCase):
    def run_main(self, *arguments):
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(arguments)
        return code, out.getvalue(), err.getvalue()

    def test_a_command_prints_its_answer(self):
        self.assertEqual(self.run_main("slug", "Hello World"), (0, "hello-world\n", ""))

    def test_a_mistyped_command_gets_a_suggestion(self):
        code, _, err = self.run_main("slugg", "x")
        self.assertEqual(code, 2)
        self.assertIn("Did you mean slug?", err)

    def test_a_refusal_is_one_line_and_exit_code_one(self):
        code, out, err = self.run_main("slug", "?!")
        self.assertEqual((code, out, err.count("\n")), (1, "", 1))

    def test_all_command_modules_are_there(self):
        self.assertLessEqual({"wrap", "report", "table", "crack", "roman"}, set(discover()))

import subprocess
import sys
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def textkit(*arguments, text=""):
    return subprocess.run(
        [sys.executable, "-m", "textkit", *arguments],
        cwd=ROOT,
        input=text,
        capture_output=True,
        encoding="utf-8",
        timeout=30,
    )


class EndToEndTest(unittest.TestCase):
    def test_a_pipeline_of_programs(self):
        secret = textkit("encrypt", "--option", "4", text="Meet me at the old station tonight.")
        clear = textkit("crack", text=secret.stdout)
        self.assertEqual(clear.stdout.strip(), "Meet me at the old station tonight.")

    def test_a_report_of_standard_input(self):
        made = textkit("report", text="One fish. Two fish. Red fish. Blue fish.")
        self.assertEqual(made.returncode, 0, made.stderr)
        self.assertIn("| fish |     4 |", made.stdout)

    def test_an_unknown_command_fails(self):
        self.assertEqual(textkit("nonsense", "x").returncode, 2)

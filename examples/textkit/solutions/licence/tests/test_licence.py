import unittest
from pathlib import Path

FILE = Path(__file__).resolve().parent.parent / "LICENSE"


class LicenceTest(unittest.TestCase):
    def test_the_file_is_there_and_not_empty(self):
        self.assertTrue(FILE.read_text(encoding="utf-8").strip())


if __name__ == "__main__":
    unittest.main()

"""What data can be refused for. Each error has a stable ``code``, a message and a next step.

::

    PMError
    └── BadData                       bad_data             (also a ValueError)
        ├── FileNotReadable           file_not_readable
        ├── ColumnsMissing            columns_missing
        ├── ValuesInvalid             values_invalid
        ├── TimesInFuture             times_in_future
        ├── NothingToLearn            nothing_to_learn
        └── TestOverlapsTraining      test_overlaps_training

    UserWarning
    ├── TooLittleHistory              too_little_history
    └── RowsLeftOut                   rows_left_out

Too little history is no error: a model then answers with its baseline and says how much is
missing. Nor are a few rows that cannot be used: they are left out and counted.
"""

from typing import ClassVar

from pm_agent.domain.errors import PMError


class BadData(PMError, ValueError):
    """The data cannot be used."""

    code = "bad_data"
    default_next_step = "Correct the data and run again."


class FileNotReadable(BadData):
    """A file is missing or damaged."""

    code = "file_not_readable"
    default_next_step = "Fetch the file again and check its size; it must be parquet."


class ColumnsMissing(BadData):
    """A table lacks columns that are needed."""

    code = "columns_missing"
    default_next_step = "Compare the table with its README and add the columns."


class ValuesInvalid(BadData):
    """A column holds values that mean nothing here, such as missing or negative numbers."""

    code = "values_invalid"
    default_next_step = "Drop or correct these rows."


class TimesInFuture(BadData):
    """Rows lie after the instant at which they are said to have been known."""

    code = "times_in_future"
    default_next_step = "Check units (microseconds UTC) and clocks, and drop later rows."


class NothingToLearn(BadData):
    """There is no row to learn from."""

    code = "nothing_to_learn"
    default_next_step = "Give at least one completed row."


class TestOverlapsTraining(BadData):
    """Rows of the test data are training data too, so the result would mean nothing."""

    code = "test_overlaps_training"
    default_next_step = "Leave out of the training data every row that is tested."
    __test__: ClassVar[bool] = False  # its name is not that of a test class


class TooLittleHistory(UserWarning):
    """A model has too few rows and answers with its baseline."""

    code: ClassVar[str] = "too_little_history"

    def __init__(self, name: str, n_rows: int, needed: int) -> None:
        self.missing = needed - n_rows
        super().__init__(
            f"{name} has {n_rows} rows and needs {needed}: it answers with its baseline. "
            f"Fit it again when {self.missing} more are known."
        )


class RowsLeftOut(UserWarning):
    """A few rows of a table could not be used and were left out."""

    code: ClassVar[str] = "rows_left_out"

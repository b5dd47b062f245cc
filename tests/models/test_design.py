import numpy as np
import pandas as pd
import pytest

from models.design import Design, codes
from models.errors import ColumnsMissing

FACTS = pd.DataFrame({"agent": ["a", "b", "a"], "size": [1.0, 2.0, 3.0], "flat": [5.0, 5.0, 5.0]})


def test_categories_become_indicators_and_numbers_are_standardised() -> None:
    matrix = Design(["agent"], scales={"agent": 2.0}).fit(FACTS).transform(FACTS).toarray()
    deviation = np.sqrt(2 / 3)
    np.testing.assert_allclose(
        matrix, [[-1 / deviation, 0, 2, 0], [0, 0, 0, 2], [1 / deviation, 0, 2, 0]]
    )


def test_a_product_multiplies_its_columns() -> None:
    design = Design(["agent"], [("agent", "size")], {"flat": 0.0}).fit(FACTS)
    matrix = design.transform(FACTS).toarray()
    np.testing.assert_allclose(matrix[:, -2:], matrix[:, 2:4] * matrix[:, [0]])


def test_an_unknown_category_has_no_effect_but_a_variance() -> None:
    design = Design(["agent"], [("agent", "size")], {"agent": 2.0}).fit(FACTS)
    new = FACTS.assign(agent="who?")
    assert not design.transform(new).toarray()[:, 2:].any()
    np.testing.assert_allclose(design.unknown_variance(new), 2.0**2 + 1.0)
    np.testing.assert_allclose(design.unknown_variance(FACTS), 0.0)


def test_codes_number_the_categories_and_leave_unknown_ones_open() -> None:
    design = Design(["agent"]).fit(FACTS)
    found = codes(FACTS.assign(agent=["b", "a", "who?"]), design)
    np.testing.assert_array_equal(found[:, 0], [1, 0, np.nan])


def test_a_missing_column_is_named() -> None:
    with pytest.raises(ColumnsMissing, match="colour"):
        Design(["colour"]).fit(FACTS)
    with pytest.raises(ColumnsMissing, match="size"):
        Design(["agent"]).fit(FACTS).transform(FACTS[["agent", "flat"]])

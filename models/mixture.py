"""Mean of several predictors, weighted by how well each did until then.

A model that learned elsewhere may be wrong here, and only what happens here can tell. So a simple
rule goes on predicting beside it, and gets the weight when it is better.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

# Chosen on 18 projects of story points, each predicted from the others: following the best
# predictor at once was better by 0.01 on average, and up to 1.09 of the median's error on a small
# project.
EAGERNESS = 0.3  # how fast weight moves, by an error of the last predictor's usual size


def weighted_mean(
    predictors: Floats,
    outcomes: ArrayLike,
    *,
    trust: float,
    half_life: float,
    steps: ArrayLike | None = None,
) -> Floats:
    """Predict row by row; the weights know the outcomes of earlier steps alone.

    Parameters
    ----------
    predictors : array, shape (n_predictors, n_rows)
        The last one is the simple rule.
    outcomes : array-like, shape (n_rows,)
    trust : float
        Weight that the last predictor begins with, against 1 of each other.
    half_life : float
        Steps after which an error counts half.
    steps : array-like, shape (n_rows,), optional
        Rows of equal value become known together; sorted. Each row is a step when not given.

    Returns
    -------
    array, shape (n_rows,)

    References
    ----------
    "Exponentially weighted average forecaster", in Cesa-Bianchi and Lugosi, Prediction, Learning,
    and Games, 2006.
    """
    errors = np.abs(predictors - np.asarray(outcomes, dtype=float))  # (n_predictors, n_rows)
    n_rows = errors.shape[1]
    starts = np.arange(n_rows)
    if steps is not None:
        starts = np.unique(np.asarray(steps), return_index=True)[1]
    fade = 0.5 ** (1 / half_life)
    prior = np.zeros(len(predictors))
    prior[-1] = np.log(trust)
    loss = np.zeros(len(predictors))
    usual, n = 0.0, 0.0  # error of the last predictor, and faded count of steps
    found = np.empty(n_rows)
    for start, end in zip(starts, [*starts[1:], n_rows], strict=True):
        unit = usual / n if usual else 1.0
        weight = np.exp(prior - EAGERNESS * (loss - loss.min()) / unit)
        found[start:end] = weight @ predictors[:, start:end] / weight.sum()
        error = errors[:, start:end].mean(axis=1)
        loss = loss * fade + error
        usual = usual * fade + error[-1]
        n = n * fade + 1.0
    return found

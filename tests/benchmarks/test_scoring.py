"""The benchmark of scoring measures a model that has learned, in claims that are made."""

import pytest

from benchmarks import scoring
from models.train import train_assignment


def test_what_it_trains_on_can_be_learned() -> None:
    card = train_assignment(scoring.history(1_500)).card
    assert card.n_training == 1_500
    assert card.beats_all_baselines
    assert card.n_censored > 0


def test_it_compares_claims_by_rules_and_by_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "QUICK", scoring.Sizes(n_claims=30, n_attempts=400))
    monkeypatch.setattr(scoring, "TURNS", 3)
    report = scoring.run(is_quick=True)
    cases = {case["case"]: case for case in report.cases}
    assert list(cases) == ["score_100", "score_1000", "claim", "train"]
    claim = cases["claim"]
    assert claim["claims"] == 30
    ratio = float(claim["learned_warm_p50_us"]) / float(claim["rules_p50_us"])
    assert report.ratios["claim_learned_to_rules"] == pytest.approx(ratio, rel=0.01)

from pm_agent.runtime import secret as secret_module
from pm_agent.runtime.secret import KEPT_S, RecentSecrets, digest_of, new_secret

REQUEST = ("person:root", "r-1")


def test_a_retry_finds_the_secret_of_its_request() -> None:
    secrets = RecentSecrets()
    assert REQUEST not in secrets
    first = secrets.of(REQUEST)
    assert REQUEST in secrets
    assert secrets.of(REQUEST) == first
    assert secrets.of(("person:root", "r-2")) != first
    assert secrets.of(("person:eve", "r-1")) != first


def test_secrets_are_forgotten_after_some_minutes() -> None:
    now_s = 0.0
    secrets = RecentSecrets(lambda: now_s)
    first = secrets.of(REQUEST)
    now_s = KEPT_S - 1
    assert secrets.of(REQUEST) == first
    now_s = KEPT_S + 1
    assert REQUEST not in secrets
    assert secrets.of(REQUEST) != first


def test_only_so_many_are_kept() -> None:
    secrets = RecentSecrets(lambda: 0.0)
    for n in range(secret_module.MAX_KEPT + 5):
        secrets.of(("p", str(n)))
    assert ("p", "0") not in secrets
    assert ("p", str(secret_module.MAX_KEPT)) in secrets


def test_a_digest_names_a_secret_and_does_not_tell_it() -> None:
    made = new_secret()
    assert made.startswith("pma_")
    assert digest_of(made) == digest_of(made) != digest_of(new_secret())
    assert made not in digest_of(made)

from scripts.audit_dependencies import verdict

SOUND = {"name": "a", "version": "1", "vulns": []}
HOLED = {"name": "b", "version": "2", "vulns": [{"id": "CVE-1", "fix_versions": ["3"]}]}
UNKNOWN = {"name": "c", "skip_reason": "not found"}


def test_a_known_vulnerability_fails_and_names_its_cure() -> None:
    code, told = verdict([SOUND, HOLED], where_possible=True)
    assert code == 1
    assert told[0] == "b 2: CVE-1, fixed in 3"


def test_packages_of_which_nothing_is_known_are_told_and_fail_unless_that_is_allowed() -> None:
    for where_possible in (True, False):
        code, told = verdict([SOUND, UNKNOWN], where_possible=where_possible)
        assert code == (0 if where_possible else 1)
        assert told[0] == "1 of 2 packages were looked up."
        assert told[1].startswith("NOT AUDITED")


def test_all_looked_up_and_sound_passes_in_silence() -> None:
    assert verdict([SOUND], where_possible=False) == (0, ["1 of 1 packages were looked up."])


def test_nothing_to_look_at_is_no_result() -> None:
    assert verdict([], where_possible=True)[0] == 1

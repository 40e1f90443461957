"""What a stage sees of what other stages make."""

from __future__ import annotations

from rondel.data.dvc_lock import remove_entries
from rondel.data.visibility import Visibility

LOCK = "schema: '2.0'\nstages:\n  one:\n    cmd: a\n  two:\n    cmd: b\n"


def test_hidden_results_and_everything_in_them_are_not_seen() -> None:
    visibility = Visibility(hidden=frozenset({"reports", "a[1].txt"}))
    assert not visibility.sees("reports/x.json")
    assert not visibility.sees("reports")
    assert visibility.sees("reports.txt")
    assert visibility.sees("src/reports")
    assert visibility.excludes() == ["a\\[1\\].txt", "reports"]


def test_a_needed_result_in_a_hidden_folder_is_seen() -> None:
    visibility = Visibility(hidden=frozenset({"reports"}), shown=frozenset({"reports/x.json"}))
    assert visibility.sees("reports/x.json")
    assert not visibility.sees("reports/y.json")
    assert visibility.excludes() == ["reports", "!reports/x.json"]


def test_a_lock_file_counts_with_the_entries_that_are_seen() -> None:
    rest = remove_entries(LOCK, ["one", "none"])
    assert rest == "schema: '2.0'\nstages:\n  two:\n    cmd: b\n"
    assert remove_entries(LOCK, ["one", "two"]) is None
    files = {"dvc.lock": "md5:whole", "a.txt": "md5:1"}
    seen = Visibility(locks={"dvc.lock": rest}).files(files)
    assert seen["a.txt"] == "md5:1"
    assert seen["dvc.lock"] not in {
        "md5:whole",
        Visibility(locks={"dvc.lock": LOCK}).files(files)["dvc.lock"],
    }

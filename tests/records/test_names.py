import pytest

from spion_bench.records.names import UsageError, check_name


def test_known_name_is_returned():
    assert check_name("method", "b", ["a", "b"]) == "b"


def test_unknown_name_suggests_the_nearest():
    with pytest.raises(UsageError, match=r"unknown method 'spoin_cf': did you mean 'spion_cf'\?"):
        check_name("method", "spoin_cf", ["dense_sdpa", "spion_cf"])


def test_name_unlike_any_lists_all():
    with pytest.raises(UsageError, match="unknown task 'zzz': known: image, listops"):
        check_name("task", "zzz", ["listops", "image"])


def test_a_long_list_of_names_is_shown_by_its_ends():
    with pytest.raises(UsageError, match=r"known: n10, n100, .* \.\.\. .*, n999$") as error:
        check_name("task", "zzz", [f"n{number}" for number in range(10, 1000)])
    assert len(str(error.value)) < 1000


def test_a_long_name_is_shown_by_its_ends():
    with pytest.raises(
        UsageError, match=r"unknown task 'a{30}' \.\.\. 'a{29}b' \(300 in all\): known"
    ):
        check_name("task", "a" * 299 + "b", ["image"])

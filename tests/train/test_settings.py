from dataclasses import replace

import pytest

from spion_bench.train.ranks import Ranks
from spion_bench.train.schedule import RECIPES
from spion_bench.train.settings import check_fit
from tests.train.tiny import tiny_job, tiny_settings, tiny_task


def test_recipe_by_name():
    assert tiny_job(tiny_settings("published")).recipe is RECIPES["published"]
    with pytest.raises(ValueError, match="'published' or 'corrected'"):
        tiny_settings("faithful")


def test_the_identity_of_a_job_sees_every_split_and_label():
    changed = tiny_task()
    changed.dev.labels[0] += 1
    tasks = [tiny_task(), tiny_task(seed=5), tiny_task(n_test=12), changed]
    found = [tiny_job(task=task).identity("spion_cf")["data"] for task in tasks]
    assert len(set(found)) == len(tasks)
    assert tiny_job().identity("spion_cf")["data"] == found[0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_length": 31}, "max_length: expected at least the 32 positions of task tiny, got 31"),
        ({"vocab_size": 11}, "vocab_size: expected at least the 12 tokens"),
        ({"n_classes": 4}, "n_classes: expected 3 as in task tiny, got 4"),
        ({"two_towers": True}, "two_towers: got True, but the inputs"),
        ({"block_size": 24}, "block_size: expected a divisor of the task's length 32, got 24"),
    ],
)
def test_misfits_name_the_setting(changes, message):
    check_fit(tiny_job(), "CF")
    with pytest.raises(ValueError, match=message):
        check_fit(tiny_job(tiny_settings(**changes)), "CF")


def test_a_dense_run_needs_no_block_size_that_fits():
    check_fit(tiny_job(tiny_settings(block_size=24)), None)


def test_processes_share_a_batch_equally():
    check_fit(replace(tiny_job(), ranks=Ranks(0, 4)), None)
    with pytest.raises(ValueError, match="batch_size: expected a multiple of the 3 processes"):
        check_fit(replace(tiny_job(), ranks=Ranks(2, 3)), None)


def test_two_towers_fit_pairs():
    pairs = tiny_task(towers=True)
    check_fit(tiny_job(tiny_settings(two_towers=True), task=pairs), "CF")
    with pytest.raises(ValueError, match="two_towers: got False"):
        check_fit(tiny_job(task=pairs), "CF")

from spion_bench.train import progress as progress_module
from spion_bench.train.progress import ProgressEvent, Reporter


def test_steps_are_told_ten_times_a_second_and_the_rest_always(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: now[0])
    events = []
    reporter = Reporter(events.append, total_steps=1000)
    for step in range(1, 301):  # 3 seconds
        reporter.step("dense", step, 0.5)
        now[0] += 0.01
    assert 28 <= len(events) <= 31
    assert events[0] == ProgressEvent("dense", 1, 1000, 0.5)
    events.clear()
    reporter.emit("sparse", 7, 0.25, dev_accuracy=0.75)
    reporter.emit("dense", 0, message="waiting")
    reporter.step("sparse", 8, 0.25)
    assert events == [
        ProgressEvent("sparse", 7, 1000, 0.25, dev_accuracy=0.75),
        ProgressEvent("dense", 0, 1000, None, message="waiting"),
    ]


def test_nobody_has_to_listen():
    Reporter(None, total_steps=3).emit("dense", 1, 0.5)

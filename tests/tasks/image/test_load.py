from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from spion_bench.tasks.image import SPEC
from tests.tasks.image.test_cifar10 import write_cifar10
from tests.tasks.image.test_fashion_mnist import write_fashion_mnist

pytestmark = pytest.mark.usefixtures("no_system_data")
load = SPEC.load
UNVERIFIED = {"verify": False}


def test_auto_prefers_cifar10(tmp_path: Path) -> None:
    write_cifar10(tmp_path)
    write_fashion_mnist(tmp_path / "fashion-mnist")
    source = load(tmp_path, UNVERIFIED).source
    assert (source.name, source.stand_in) == ("cifar10", False)
    assert "chosen because it was found" in source.description


def test_auto_then_takes_fashion_mnist(tmp_path: Path) -> None:
    write_fashion_mnist(tmp_path / "fashion-mnist")
    source = load(tmp_path, UNVERIFIED).source
    assert (source.name, source.stand_in) == ("fashion-mnist", True)
    assert "CIFAR-10 was not found" in source.description


@pytest.mark.parametrize("with_folder", [True, False])
def test_auto_then_takes_the_digits(tmp_path: Path, with_folder: bool) -> None:
    splits = load(tmp_path if with_folder else None, {})
    assert (splits.source.name, splits.source.stand_in) == ("digits", True)
    assert "CIFAR-10 was not found and Fashion-MNIST was not found" in splits.source.description
    assert splits.train.inputs.shape == (1297, 1024)


def test_auto_does_not_pass_over_a_pickled_cifar10(tmp_path: Path) -> None:
    (tmp_path / "cifar-10-python.tar.gz").touch()
    with pytest.raises(ValueError, match="pickles"):
        load(tmp_path, {})
    assert load(tmp_path, {"source": "digits"}).source.name == "digits"


@pytest.mark.parametrize("source", ["cifar10", "fashion-mnist"])
def test_named_source_is_never_replaced(tmp_path: Path, source: str) -> None:
    with pytest.raises(FileNotFoundError, match=f"source '{source}' needs .* in {tmp_path}"):
        load(tmp_path, {"source": source})


def test_length_256_is_fashion_mnist_where_it_is_found(tmp_path: Path) -> None:
    write_cifar10(tmp_path)
    write_fashion_mnist(tmp_path / "fashion-mnist")
    splits = load(tmp_path, {"length": 256, **UNVERIFIED})
    assert splits.source.name == "fashion-mnist"
    assert "CIFAR-10 has no pictures of this length" in splits.source.description
    assert "averaged down to 16x16" in splits.source.description
    assert f"uses {len(splits.train)} of {len(splits.train)} train" in splits.source.description


def test_length_256_is_digits_even_next_to_cifar10(tmp_path: Path) -> None:
    write_cifar10(tmp_path)
    splits = load(tmp_path, {"length": 256})
    assert splits.source.name == "digits"
    assert "CIFAR-10 has no pictures of this length and Fashion" in splits.source.description
    assert splits.train.inputs.shape == (1297, 256)


def test_length_256_of_cifar10_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"option length: source .* has 1024 pixels, got 256"):
        load(tmp_path, {"source": "cifar10", "length": 256})


def test_caps_keep_the_first_examples_and_are_disclosed(tmp_path: Path) -> None:
    write_cifar10(tmp_path)
    whole = load(tmp_path, UNVERIFIED)
    capped = load(tmp_path, {**UNVERIFIED, "n_train": 5, "n_dev": 1, "n_test": 100})
    assert np.array_equal(capped.train.inputs, whole.train.inputs[:5])
    assert np.array_equal(capped.train.labels, whole.train.labels[:5])
    assert (len(capped.dev), len(capped.test)) == (1, 4)
    assert "5 of 18 train, 1 of 2 dev and 4 of 4 test" in capped.source.description


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"length": 512}, "option length: expected 256 or 1024, got 512"),
        ({"source": "mnist"}, "option source: .*'digits', got 'mnist'"),
        ({"n_train": 0}, "option n_train: .*greater than 0, got 0"),
        ({"seed": -1}, "option seed: .*greater than or equal to 0, got -1"),
        ({"sourse": "digits"}, "unknown image option 'sourse': did you mean 'source'"),
    ],
)
def test_bad_options_are_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load(None, options)

"""Damaged files at every reader: it reads, or raises the error that names the file."""

import gzip
import io
import tarfile
import tomllib
from functools import cache
from pathlib import Path
from random import Random

import numpy as np
import torch
from PIL import Image

from spion_bench.block_pattern import BlockPattern
from spion_bench.datasets.download import DownloadError, Patience, check_address, download
from spion_bench.datasets.unpack import UnsafeArchiveError, unpack
from spion_bench.records import frame
from spion_bench.records.artifacts import Artifact, Curve, Layer, read_artifact, write_artifact
from spion_bench.records.files import file_digest
from spion_bench.records.names import UsageError
from spion_bench.records.store import read_records
from spion_bench.suite.profile import load_profile
from spion_bench.tasks.formats import read_idx
from spion_bench.tasks.listops.release import read_tsv as read_listops
from spion_bench.tasks.pathfinder.release import list_pictures, read_pictures
from spion_bench.tasks.retrieval.aan import read_tsv as read_aan
from spion_bench.train.checkpoint import CheckpointError, CheckpointStore
from tests.fuzz.mutate import mutate

ROOT = Path(__file__).resolve().parents[2]


@cache
def _record_lines() -> list[bytes]:
    files = sorted((ROOT / "results" / "records").rglob("*.jsonl"))
    return [line for file in files for line in file.read_bytes().splitlines()[:20]]


def records(random: Random, folder: Path) -> None:
    """Records and the frame of them."""
    lines = [mutate(random.choice(_record_lines()), random) for _ in range(3)]
    (folder / "records.jsonl").write_bytes(b"\n".join([random.choice(_record_lines()), *lines]))
    found, problems = read_records(folder / "records.jsonl")
    assert len(found) + len(problems) >= 1
    frame.records_frame(folder)


def artifacts(random: Random, folder: Path) -> None:
    """Artifacts whose bytes are wrong while their hash is right."""
    path = folder / "artifact.npz"
    square, crow, col = np.eye(2), np.array([0, 1, 2], np.int32), np.array([0, 1], np.int32)
    layer = Layer(square, square, square > 0, crow, col)
    steps, losses = np.arange(3), np.linspace(2.0, 1.0, 3)
    curve = Curve(steps, steps > 1, losses, steps[:1], losses[:1], losses[:1])
    write_artifact(path, Artifact(curve, (layer,), 8))
    path.write_bytes(mutate(path.read_bytes(), random))
    _expect(ValueError, lambda: read_artifact(path, file_digest(path)))


def checkpoints(random: Random, folder: Path) -> None:
    """Checkpoints of which one file is damaged: the old tree or an error, no other tree."""
    tree = {"step": 3, "weights": torch.arange(6.0), "list": [1, "two", None]}
    store = CheckpointStore(folder, {"task": "tiny"}, every_s=60)
    store.save(tree)
    path = random.choice(sorted(folder.iterdir()))
    path.write_bytes(mutate(path.read_bytes(), random))
    found = _expect(CheckpointError, store.load)
    if found is not None:
        assert found["step"] == 3, found
        assert torch.equal(found["weights"], tree["weights"]), found


def archives(random: Random, folder: Path) -> None:
    """Archives damaged inside or outside their compression: nothing is written elsewhere."""
    plain = io.BytesIO()
    formats = (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT)
    with tarfile.open(fileobj=plain, mode="w", format=random.choice(formats)) as tar:
        for name in ("top/a", "top/" + "long" * 20 + "/b", "other/c"):
            member = tarfile.TarInfo(name)
            member.size = 3
            tar.addfile(member, io.BytesIO(b"abc"))
    content = plain.getvalue()
    if random.random() < 0.7:
        content = gzip.compress(mutate(content, random))
    else:
        content = mutate(gzip.compress(content), random)
    archive, data_dir = folder / "a.tar.gz", folder / "data"
    archive.write_bytes(content)
    data_dir.mkdir()
    limits = {"max_bytes": 10**6, "max_files": 100}
    _expect(UnsafeArchiveError, lambda: unpack(archive, data_dir, ("top",), **limits))
    assert {path.name for path in folder.iterdir()} == {"a.tar.gz", "data"}
    assert {path.name for path in data_dir.iterdir()} <= {"top"}


def tables(random: Random, folder: Path) -> None:
    """Tables of ListOps and of paper pairs, and messages that stay short."""
    expressions = b"Source\tTarget\r\n( ( ( [MAX 4 ) 3 ) ] )\t4\r\n( ( [MIN 7 ) ] )\t7\r\n"
    pairs = b"0.0\ta\tb\tfirst\tsecond\n1.0\tc\td\tthird\tfourth\n"
    for content, read in ((expressions, read_listops), (pairs, read_aan)):
        path = folder / "table.tsv"
        path.write_bytes(mutate(content, random))
        _expect(ValueError, lambda read=read, path=path: list(read(path)), path)


def pictures(random: Random, folder: Path) -> None:
    """Pathfinder's tables and PNG files."""
    for name in ("metadata", "imgs/0"):
        (folder / name).mkdir(parents=True)
    table, picture = folder / "metadata/0.npy", folder / "imgs/0/a.png"
    Image.fromarray(np.arange(1024, dtype=np.uint8).reshape(32, 32)).save(picture)
    table.write_text("imgs/0 a.png 0 1 1.0 14 4 2 0.5 1 1\n", encoding="ascii")
    damaged = random.choice((table, picture))
    damaged.write_bytes(mutate(damaged.read_bytes(), random))
    _expect(
        (ValueError, FileNotFoundError),
        lambda: read_pictures(list_pictures(folder)[0], 32),
        folder,
    )


def idx(random: Random, folder: Path) -> None:
    """Arrays of Fashion-MNIST's format, damaged inside or outside their compression."""
    content = bytes((0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4, *range(24)))
    if random.random() < 0.7:
        content = gzip.compress(mutate(content, random))
    else:
        content = mutate(gzip.compress(content), random)
    path = folder / "images.gz"
    path.write_bytes(content)
    found = _expect(
        ValueError,
        lambda: read_idx(path, n_dims=3, content_md5=None, remedy="get it again"),
        path,
    )
    assert found is None or found.ndim == 3


def profiles(random: Random, folder: Path) -> None:
    """Profiles as a user edits them."""
    source = random.choice(sorted((ROOT / "spion_bench/suite/profiles").glob("*.toml")))
    path = folder / "mine.toml"
    path.write_bytes(mutate(source.read_bytes(), random))
    # Up to five mistakes, of which each may list every method.
    found = _expect(UsageError, lambda: load_profile(str(path)), longest=5000)
    if found is not None:
        assert found.name == tomllib.loads(path.read_text(encoding="utf-8"))["name"]


def patterns(random: Random, folder: Path) -> None:
    """Saved patterns."""
    path = folder / "pattern.json"
    BlockPattern.band(64, 8, 1).save(path)
    path.write_bytes(mutate(path.read_bytes(), random))
    _expect(ValueError, lambda: BlockPattern.load(path))


def addresses(random: Random, folder: Path) -> None:
    """Addresses: refused, or tried once on this machine, where nothing listens."""
    url = mutate(b"http://127.0.0.1:9/a/file.tsv", random).decode("latin-1")
    once = Patience(attempts=1, first_wait_s=0.0, timeout_s=1.0)
    if _expect(ValueError, lambda: check_address(url)) == "127.0.0.1":  # no other host is asked
        # The message names the whole address.
        _expect(
            DownloadError,
            lambda: download(url, folder / "part", patience=once),
            longest=len(url) + 1000,
        )


def _expect(errors, read, named="", longest=2000):  # type: ignore[no-untyped-def]
    """Return what ``read`` returns; None if it raises one of ``errors`` in a message for a user."""
    try:
        return read()
    except errors as error:
        message = str(error)
    assert message, "an error without a message"
    assert str(named) in message, message
    assert len(message) < longest, message
    return None

"""The cache of features survives interruptions and damage."""

from pathlib import Path

import numpy as np
import pytest

from components.shared.errors import TrainingError
from components.train.probe.cache import INDEX_FILE, Block, FeatureCache

WIDTHS = {"embedding": 5, "activation": 12}


def blocks_and_rows(number: int) -> tuple[list[Block], dict[str, np.ndarray]]:
    rng = np.random.default_rng(number)
    blocks = [Block(f"slice\n{number}", "d", 0, 1), Block(f"slice\n{number}", "d", 1, 3)]
    return blocks, {name: rng.normal(size=(4, width)).astype(np.float16) for name, width in WIDTHS.items()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    cache = FeatureCache(tmp_path, WIDTHS)
    for number in range(3):
        cache.append(*blocks_and_rows(number))
    return tmp_path


def assert_contains(cache: FeatureCache, number: int) -> None:
    blocks, features = blocks_and_rows(number)
    rows = np.concatenate([cache.rows([block]) for block in blocks], axis=1)[0]
    for name, expected in features.items():
        assert np.array_equal(cache.matrix(name)[rows], expected)


def test_rows_are_found_by_the_id_and_digest_of_a_slice(folder: Path) -> None:
    cache = FeatureCache(folder, WIDTHS)
    for number in range(3):
        assert_contains(cache, number)
    assert Block("slice\n1", "d", 0, 1) in cache
    assert Block("slice\n1", "another image", 0, 1) not in cache


@pytest.mark.parametrize(("file", "removed"), [(INDEX_FILE, 3), ("embedding.f16", 7), ("activation.f16", 50)])
def test_an_incomplete_block_is_computed_again(folder: Path, file: str, removed: int) -> None:
    content = (folder / file).read_bytes()
    (folder / file).write_bytes(content[:-removed])
    cache = FeatureCache(folder, WIDTHS)
    missing = [block for block in blocks_and_rows(2)[0] if block not in cache]
    assert missing
    cache.repair()
    cache.append(*blocks_and_rows(2))
    for number in range(3):
        assert_contains(FeatureCache(folder, WIDTHS), number)


def test_a_block_with_a_changed_bit_is_not_used(folder: Path) -> None:
    content = bytearray((folder / "activation.f16").read_bytes())
    content[100] ^= 1  # in the second block: rows of 24 bytes, of which the first block has one and the second three
    (folder / "activation.f16").write_bytes(content)
    cache = FeatureCache(folder, WIDTHS)
    assert [block in cache for number in range(3) for block in blocks_and_rows(number)[0]].count(False) == 1


@pytest.mark.parametrize(
    "line", [b"[]", b'["\xff", "d", 0', b'["a", "d", 0, -1, 0]', b'["a", "d", 0, 1e999, 0]', b"[" * 9999]
)
def test_a_damaged_index_is_rejected_by_name(line: bytes, folder: Path) -> None:
    index = folder / INDEX_FILE
    index.write_bytes(line + b"\n" + index.read_bytes())
    with pytest.raises(TrainingError, match=f"{INDEX_FILE} has the line"):
        FeatureCache(folder, WIDTHS)

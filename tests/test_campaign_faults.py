"""Damage by the disk, an interruption or another program, and how the next run of the campaign repairs it."""

import json
import os
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from small_campaign import SCALES, files_of, run, run_in_small_shards

from cardioemu.common.errors import UserError
from cardioemu.simulation import TraceStore
from cardioemu.simulation.store import manifest

pytestmark = pytest.mark.usefixtures("small_shards")

SECOND = "shard-00001.parquet"


@pytest.fixture
def rerun(cell, tmp_path):
    return lambda: run(cell, tmp_path)


@pytest.fixture(scope="module")
def finished(cell, tmp_path_factory):
    return run_in_small_shards(cell, tmp_path_factory.mktemp("finished"))


@pytest.fixture
def store(finished, tmp_path):
    return TraceStore(shutil.copytree(finished.folder, tmp_path / finished.folder.name))


def flip(path):
    """Alter a byte of the voltages; the middle of the file may be between columns, where nothing is read."""
    content = bytearray(path.read_bytes())
    group = pq.ParquetFile(path).metadata.row_group(0)
    columns = [group.column(i) for i in range(group.num_columns)]
    (voltage,) = [column for column in columns if column.path_in_schema.startswith("voltage_mV")]
    content[voltage.data_page_offset + voltage.total_compressed_size // 2] ^= 1
    path.write_bytes(content)


def halve(path):
    os.truncate(path, path.stat().st_size // 2)


DAMAGE = {
    "flipped byte": (flip, "was altered: its checksum is not that in the manifest; writing it again"),
    "truncated": (halve, "is truncated or extended: it has "),
    "empty": (lambda path: path.write_bytes(b""), "is truncated or extended: it has 0 bytes, but "),
    "another shard": (
        lambda path: path.write_bytes((path.parent / "shard-00000.parquet").read_bytes()),
        "is truncated or extended",
    ),
    "deleted": (Path.unlink, None),  # as after an interruption: no message
}


@pytest.mark.parametrize("fault", DAMAGE)
def test_a_faulty_shard_is_named_and_simulated_again(store, rerun, tmp_path, simulated, capsys, fault):
    before = files_of(tmp_path)
    damage, sentence = DAMAGE[fault]
    damage(store.folder / SECOND)
    capsys.readouterr()
    assert list(store.verify()) == [SECOND]
    rerun()
    assert simulated == [2]
    assert files_of(tmp_path) == before
    err = capsys.readouterr().err
    assert (f"{store.folder / SECOND} {sentence}" in err) if sentence else "shard" not in err
    assert store.verify() == {}


@pytest.mark.parametrize("fault", ["flipped byte", "truncated", "deleted"])
def test_reading_a_faulty_shard_is_refused(store, fault):
    DAMAGE[fault][0](store.folder / SECOND)
    with pytest.raises(UserError, match=f"{SECOND} is damaged or missing .*; re-run its campaign, which repairs it"):
        [trace for shard in store.shards for trace in store.traces(shard)]


@pytest.mark.parametrize("name", ["notes.txt", "shard-00009.parquet", "backup"])
def test_a_foreign_file_is_named(store, rerun, simulated, name):
    (store.folder / name).write_text("mine")
    with pytest.raises(UserError, match=f"{name} does not belong to the trace store; move it away"):
        rerun()
    assert (store.folder / name).read_text() == "mine"
    (store.folder / name).unlink()
    rerun()
    assert simulated == []


def test_files_that_readers_ignore_are_not_foreign(store, rerun, simulated):
    for name in ("_summary.txt", ".DS_Store", "_notes.md"):
        (store.folder / name).write_text("mine")
    rerun()
    assert simulated == []


def test_manifest_of_another_campaign(cell, store, rerun, tmp_path, simulated):
    other = run(cell, tmp_path, SCALES[:3])
    simulated.clear()
    path = store.folder / "_manifest.jsonl"
    mine = path.read_bytes()
    path.write_bytes((other.folder / "_manifest.jsonl").read_bytes())
    for act in (rerun, lambda: TraceStore(store.folder)):
        with pytest.raises(UserError, match=f"belongs to another campaign .{other.key}, not {store.key}.; delete it"):
            act()
    path.write_bytes(mine)
    rerun()
    assert simulated == []


def test_metadata_of_another_campaign(cell, store, rerun, tmp_path):
    other = run(cell, tmp_path, SCALES[:3])
    (store.folder / "_campaign.json").write_bytes((other.folder / "_campaign.json").read_bytes())
    with pytest.raises(UserError, match=r"_campaign.json belongs to another campaign; move it away"):
        rerun()


@pytest.mark.parametrize(("content", "sentence"), [("{", "_campaign.json is damaged; writing it again"), (None, "")])
def test_metadata_are_written_again(store, rerun, simulated, capsys, content, sentence):
    path, metadata = store.folder / "_campaign.json", store.metadata
    path.unlink() if content is None else path.write_text(content)
    rerun()
    assert simulated == []
    assert json.loads(path.read_text()) == metadata
    assert sentence in capsys.readouterr().err


def test_a_truncated_line_of_the_manifest(store, rerun, simulated):
    path = store.folder / "_manifest.jsonl"
    path.write_bytes(path.read_bytes()[:-20])  # the last shard is no longer listed
    rerun()
    assert simulated == [2]
    assert TraceStore(store.folder).verify() == {}
    assert len(TraceStore(store.folder)) == 7


def test_a_deleted_manifest(store, rerun, simulated):
    (store.folder / "_manifest.jsonl").unlink()
    rerun()
    assert simulated == [2, 2, 2]  # the checksums are lost


def test_an_intact_shard_is_read_once(store, rerun, monkeypatch):
    read, checksum = [], manifest.checksum
    monkeypatch.setattr(manifest, "checksum", lambda path: read.append(path.name) or checksum(path))
    (store.folder / SECOND).unlink()
    rerun()
    assert sorted(read) == ["shard-00000.parquet", "shard-00002.parquet"]


def test_temporary_files_of_a_kill_are_removed(store, rerun, simulated):
    temporary = store.folder / ".shard-00001.parquet.0123abcd.tmp"
    temporary.write_bytes(b"PAR1 half")
    (store.folder / SECOND).unlink()
    rerun()
    assert simulated == [2]
    assert not temporary.exists()

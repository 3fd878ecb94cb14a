"""What waits to be sent: nothing is lost, twice or out of order, wherever the process is killed."""

import json
import random
from pathlib import Path

import pytest

from cardioemu.tracking.outbox import Outbox, pending_folders


def keep(folder, count):
    for number in range(count):
        Outbox(folder).append("metrics", {"step": number})


def test_calls_are_sent_once_and_in_their_order(tmp_path):
    tmp_path = tmp_path / "run"
    keep(tmp_path, 5)
    assert len(Outbox(tmp_path)) == 5
    assert pending_folders(tmp_path.parent) == [tmp_path]
    sent = []
    Outbox(tmp_path).sync(lambda call, arguments: sent.append((call, arguments["step"])))
    assert sent == [("metrics", number) for number in range(5)]
    assert list(tmp_path.iterdir()) == []
    assert pending_folders(tmp_path.parent) == []


def test_what_fails_goes_on_waiting(tmp_path):
    keep(tmp_path, 7)
    sent = []

    def perform(_, arguments):
        if len(sent) == 3 and not came_back:
            raise ConnectionError
        sent.append(arguments["step"])

    came_back = False
    with pytest.raises(ConnectionError):
        Outbox(tmp_path).sync(perform)
    assert len(Outbox(tmp_path)) == 4
    Outbox(tmp_path).append("metrics", {"step": 7})
    came_back = True
    Outbox(tmp_path).sync(perform)
    assert sent == [*range(8)]


@pytest.mark.parametrize("seed", range(20))
def test_a_line_that_a_kill_cut_off_is_no_call_and_harms_no_other(seed, tmp_path):
    keep(tmp_path, 6)
    path = tmp_path / "unsent" / "calls.jsonl"
    text = path.read_bytes()
    cut = random.Random(seed).randrange(len(text))
    path.write_bytes(text[:cut])
    whole = sum(line.endswith(b"]") for line in text[:cut].splitlines())
    Outbox(tmp_path).append("end", {"status": "KILLED"})
    sent = []
    Outbox(tmp_path).sync(lambda call, arguments: sent.append((call, arguments)))
    assert sent == [*(("metrics", {"step": number}) for number in range(whole)), ("end", {"status": "KILLED"})]


def test_files_of_the_outbox_go_with_their_calls_and_others_stay(tmp_path):
    box, figure = Outbox(tmp_path), tmp_path / "figures" / "test.png"
    figure.parent.mkdir()
    figure.write_text("kept")
    for name in ("a.png", "b.png"):
        box.folder.mkdir(exist_ok=True)
        (box.folder / name).write_text(name)
        box.append("image", {"path": f"unsent/{name}"})
    box.append("file", {"path": "figures/test.png"})
    seen = []
    box.sync(lambda _, arguments: seen.append((tmp_path / arguments["path"]).read_text()))
    assert seen == ["a.png", "b.png", "kept"]
    assert [path.name for path in tmp_path.iterdir()] == ["figures"]
    assert figure.exists()


@pytest.mark.parametrize("name", ["sent", "calls.jsonl"])
def test_a_kill_after_the_last_call_loses_no_later_one(name, tmp_path, monkeypatch):
    keep(tmp_path, 3)
    unlink = Path.unlink

    def killed(path, missing_ok=False):
        unlink(path, missing_ok)
        if path.name == name:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", killed)
        with pytest.raises(KeyboardInterrupt):
            Outbox(tmp_path).sync(lambda *_: None)
    Outbox(tmp_path).append("end", {"status": "KILLED"})
    sent = []
    Outbox(tmp_path).sync(lambda call, _: sent.append(call))
    assert sent[-1] == "end"


def test_sweeps_are_sent_before_their_runs(tmp_path):
    for folder in ("2026-01-01/a", "sweeps/z", "2026-01-01/b-sweep/0"):
        keep(tmp_path / folder, 1)
    first, *others = pending_folders(tmp_path)
    assert first == tmp_path / "sweeps" / "z"
    assert len(others) == 2


def test_what_waits_can_be_read(tmp_path):
    keep(tmp_path, 1)
    assert json.loads((tmp_path / "unsent" / "calls.jsonl").read_text()) == ["metrics", {"step": 0}]

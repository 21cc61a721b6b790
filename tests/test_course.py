"""Profiles and saved results."""

import json
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime

import pandas as pd
import pytest
import torch

from xailib import course

TABLE = pd.DataFrame({"method": ["gradcam", "rise"], "drop": [12.5, 9.0]})


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setattr(course, "ROOT", tmp_path)
    monkeypatch.delenv("XAILIB_RESULTS", raising=False)
    use(monkeypatch, "laptop")
    return tmp_path


def use(monkeypatch, profile):
    monkeypatch.setenv("XAILIB_PROFILE", profile)


def test_profile_defaults_to_laptop(monkeypatch):
    monkeypatch.delenv("XAILIB_PROFILE")
    assert course.profile() == "laptop"


def test_unknown_profile_is_refused(monkeypatch):
    use(monkeypatch, "fast")
    with pytest.raises(ValueError, match="'fast'; it must be one of quick, laptop, full"):
        course.profile()


@pytest.mark.parametrize("cuda", [True, False])
def test_full_needs_a_gpu(monkeypatch, cuda):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    use(monkeypatch, "full")
    if cuda:
        assert course.choose(quick=1, laptop=8, full=200) == 200
        assert course.device() == torch.device("cuda")
    else:
        assert course.device() == torch.device("cpu")
        with pytest.raises(RuntimeError, match="needs a CUDA GPU"):
            course.choose(quick=1, laptop=8, full=200)


@pytest.mark.parametrize(("profile", "epochs"), [("quick", 1), ("laptop", 8)])
def test_a_config_shows_all_profiles_and_takes_one(monkeypatch, profile, epochs):
    use(monkeypatch, profile)

    @dataclass(frozen=True)
    class Config:
        epochs: int = course.choose(quick=1, laptop=8, full=200)

    assert Config().epochs == epochs


def test_results_hold_the_table_and_how_it_came_about(root):
    path = course.save_results("cams", TABLE, seed=3, images=50)
    assert path == root / "results" / "cams.csv"
    assert path.read_bytes() == b"method,drop\ngradcam,12.5\nrise,9.0\n"
    facts = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    assert (facts["seed"], facts["images"], facts["profile"]) == (3, 50, "laptop")
    assert abs((datetime.now(UTC) - datetime.fromisoformat(facts["date"])).total_seconds()) < 60
    assert facts["versions"]["torch"] == torch.__version__.split("+")[0]
    assert "CPUs" in facts["machine"]


def test_a_meaningful_index_is_saved(root):
    path = course.save_results("cams", TABLE.set_index("method"), seed=None)
    assert path.read_text() == "method,drop\ngradcam,12.5\nrise,9.0\n"


def test_commit_names_the_checkout_and_its_changes(root):
    assert course._commit() == "unknown"
    git = ["git", "-C", str(root), "-c", "user.name=a", "-c", "user.email=a@b"]
    (root / "file").write_text("1")
    for command in (["init", "-q"], ["add", "file"], ["commit", "-qm", "one"]):
        subprocess.run(git + command, check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True).stdout.strip()
    assert course._commit() == head
    course.save_results("cams", TABLE, seed=None)
    subprocess.run([*git, "add", "results"], check=True)
    assert course._commit() == head, "a table that was just saved is no change of what made the next one"
    (root / "file").write_text("2")
    assert course._commit() == head + "+changes"


def test_quick_results_stay_out_of_the_way(root, monkeypatch):
    use(monkeypatch, "quick")
    assert course.save_results("cams", TABLE, seed=0) == root / "build" / "results" / "cams.csv"


@pytest.mark.parametrize(("before", "after"), [("full", "laptop"), ("full", "quick"), ("laptop", "quick")])
def test_a_longer_run_is_never_overwritten(root, monkeypatch, capsys, before, after):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "some GPU")
    monkeypatch.setenv("XAILIB_RESULTS", str(root / "mine"))
    use(monkeypatch, before)
    kept = course.save_results("cams", TABLE, seed=0)
    assert kept == root / "mine" / "cams.csv"
    use(monkeypatch, after)
    assert course.save_results("cams", TABLE * 2, seed=0) == root / "build" / "results" / "cams.csv"
    assert kept.read_text() == "method,drop\ngradcam,12.5\nrise,9.0\n"
    assert json.loads(kept.with_suffix(".json").read_text())["profile"] == before
    assert f"holds a {before} run and stays as it is" in capsys.readouterr().out


def test_running_a_lesson_again_leaves_the_repositorys_table(root, monkeypatch, capsys):
    kept = course.save_results("cams", TABLE, seed=0)
    before = kept.with_suffix(".json").read_bytes()
    assert course.save_results("cams", TABLE * 2, seed=1) == root / "build" / "results" / "cams.csv"
    assert (
        kept.with_suffix(".json").read_bytes() == before
        and "XAILIB_RESULTS=results replaces it" in capsys.readouterr().out
    )
    assert (
        course.save_results("cams", TABLE * 2, seed=1).parent == root / "build" / "results"
    )  # there, the last run counts
    monkeypatch.setenv("XAILIB_RESULTS", str(root / "results"))
    assert course.save_results("cams", TABLE * 2, seed=1) == kept


def test_a_run_of_the_same_or_a_longer_profile_replaces(root, monkeypatch):
    monkeypatch.setenv("XAILIB_RESULTS", str(root))
    for profile, seed in [("quick", 1), ("quick", 2), ("laptop", 3)]:
        use(monkeypatch, profile)
        path = course.save_results("cams", TABLE, seed=seed)
        assert json.loads(path.with_suffix(".json").read_text())["seed"] == seed


@pytest.mark.parametrize(
    ("name", "table", "complaint"),
    [("a/b", TABLE, "'a/b'"), ("", TABLE, "plain file name"), ("cams", TABLE[:0], "is empty")],
)
def test_bad_results_are_refused(root, name, table, complaint):
    with pytest.raises(ValueError, match=complaint):
        course.save_results(name, table, seed=0)
    assert not list(root.iterdir())


def test_context_that_json_cannot_hold_leaves_nothing_behind(root):
    with pytest.raises(TypeError):
        course.save_results("cams", TABLE, seed=0, model=object())
    assert not list(root.rglob("*.*"))

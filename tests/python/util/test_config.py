"""Where packed weights go."""

from penstock.util.config import cache_folder


def test_nothing_is_written_into_the_cache_of_another_tool(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("PENSTOCK_CACHE", raising=False)
    ours = str(tmp_path / "cache" / "penstock")
    snapshot = tmp_path / "models" / "snapshots" / "0123"
    snapshot.mkdir(parents=True)
    assert cache_folder(str(snapshot)) == ""
    (tmp_path / "models" / "blobs").mkdir()
    assert cache_folder(str(snapshot)) == ours
    assert cache_folder(str(snapshot), "chosen") == "chosen"
    without_blobs = tmp_path / "models--a--b" / "snapshots" / "0123"
    without_blobs.mkdir(parents=True)
    assert cache_folder(str(without_blobs)) == ours
    linked = tmp_path / "linked"
    linked.mkdir()
    assert cache_folder(str(linked)) == ""
    (linked / "model.safetensors").symlink_to(tmp_path / "blob")
    assert cache_folder(str(linked)) == ours


def test_a_user_without_a_home_has_a_cache_too(tmp_path, monkeypatch):
    def no_home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("PENSTOCK_CACHE", raising=False)
    monkeypatch.setattr("penstock.util.config.Path.home", no_home)
    snapshot = tmp_path / "snapshots" / "0123"
    snapshot.mkdir(parents=True)
    (tmp_path / "blobs").mkdir()
    assert "penstock-" in cache_folder(str(snapshot))


def test_a_home_that_cannot_be_written_to_is_no_place_for_a_cache(tmp_path, monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("PENSTOCK_CACHE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    snapshot = tmp_path / "models--a--b" / "snapshots" / "0123"
    snapshot.mkdir(parents=True)
    assert "penstock-" in cache_folder(str(snapshot))  # there is no such home
    (tmp_path / "home").mkdir()
    assert cache_folder(str(snapshot)) == str(tmp_path / "home" / ".cache" / "penstock")

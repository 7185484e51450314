"""The user's own folders: where they are, and that nobody else can write what is executed from them."""

import os
import pwd
import stat
import tempfile
from pathlib import Path

import pytest

from sim.machine.compiled.cache import not_private
from sweep.__main__ import main
from sweep.errors import BadInput
from sweep.inputs.home import cache_folder, expanded, own_folder, write_own
from sweep.measure import loop


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    return tmp_path / "cache" / "xpfo-sweep"


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_the_users_folder_follows_xdg(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert own_folder() == tmp_path / "xpfo-sweep"
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative/is/ignored")
    assert own_folder() == Path.home() / ".config" / "xpfo-sweep"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert own_folder("~/mine") == tmp_path / "mine"


@pytest.mark.parametrize("umask", [0o000, 0o002, 0o022, 0o077])
def test_what_is_written_others_cannot_write_under_any_umask(tmp_path, cache, umask):
    before = os.umask(umask)
    try:
        write_own(tmp_path / "a" / "b" / "file.yaml", "text")
        assert cache_folder() == cache
    finally:
        os.umask(before)
    for path in (tmp_path / "a", tmp_path / "a" / "b", tmp_path / "a" / "b" / "file.yaml", cache, cache.parent):
        assert not mode(path) & 0o022
    assert mode(cache) == 0o700
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["file.yaml"]


def test_a_folder_that_others_may_write_is_not_executed_from(tmp_path, cache):
    cache.mkdir(parents=True)
    for folder in (cache, cache.parent):
        folder.chmod(0o777)
        assert cache_folder().parent == tmp_path / "tmp"
        folder.chmod(0o755)
    assert cache_folder() == cache
    other = tmp_path / "theirs"
    other.mkdir()
    cache.rmdir()
    cache.symlink_to(other)
    assert "is a link" in not_private(cache)
    assert cache_folder().parent == tmp_path / "tmp"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to have files of another user")
def test_a_folder_of_another_user_is_not_executed_from(tmp_path, cache):
    cache.mkdir(parents=True)
    os.chown(cache, 12345, 12345)
    assert "belongs to the user 12345" in not_private(cache)
    there = tmp_path / "tmp" / f"xpfo-sweep-{os.geteuid()}"
    there.mkdir()
    os.chown(there, 12345, 12345)
    with pytest.raises(BadInput, match="belongs to the user 12345; set XDG_CACHE_HOME"):
        cache_folder()


def helper():
    try:
        return loop.helper()
    except loop.Unmeasurable as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("spoil", ["writable", "link", "owner", "not_executable"])
def test_a_program_that_somebody_else_could_have_written_is_made_again(cache, tmp_path, spoil):
    program = helper()
    assert mode(program) == 0o700
    assert [path.name for path in cache.iterdir()] == [program.name]
    real = program.read_bytes()
    program.write_bytes(b"#!/bin/sh\ntouch taken\n")
    if spoil == "writable":
        program.chmod(0o777)
    elif spoil == "not_executable":
        program.chmod(0o600)
    elif spoil == "link":
        program.rename(tmp_path / "other")
        program.symlink_to(tmp_path / "other")
    elif os.geteuid() == 0:
        os.chown(program, 12345, 12345)
    else:
        pytest.skip("needs root, to have files of another user")
    assert helper() == program
    assert program.read_bytes() == real
    assert not program.is_symlink()


def test_tilde_is_the_home_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert expanded("~/runs", "OUT") == f"{tmp_path}/runs"
    assert expanded("s3://bucket/~x", "OUT") == "s3://bucket/~x"
    with pytest.raises(BadInput, match="OUT=~nobody-of-that-name/x: the home folder is not known"):
        expanded("~nobody-of-that-name/x", "OUT")


@pytest.mark.parametrize("verb", ["status", "report", "tables", "next", "compare"])
def test_verbs_take_a_tilde(verb, sweep_in, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    run = sweep_in("+grid=smoke", "window_events=64", "precision=0.3", out=tmp_path / "run")
    given = ["~/run", "~/run"] if verb == "compare" else ["~/run"]
    code = main([verb, *given])
    assert code == (2 if verb == "next" else 0), capsys.readouterr().err
    assert run.is_dir()
    assert main([verb, *["~nobody-of-that-name"] * len(given)]) == 2
    assert "the home folder is not known" in capsys.readouterr().err


@pytest.fixture
def homeless(monkeypatch, tmp_path):
    """A user without an entry and without HOME, as in a container."""

    def unknown(uid):
        raise KeyError(uid)

    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


@pytest.mark.parametrize("arguments", [["measure"], ["profile", "--", "true"]])
def test_a_user_without_a_home_is_told_what_to_give(homeless, arguments, capsys):
    assert main(arguments) == 2
    wanted = "sweep: the home folder is not known: give --config-dir DIR, or set HOME or XDG_CONFIG_HOME\n"
    assert capsys.readouterr().err == wanted


def test_without_a_home_the_cache_is_temporary(homeless, tmp_path):
    assert cache_folder() == tmp_path / f"xpfo-sweep-{os.geteuid()}"
    with pytest.raises(BadInput, match="the home folder is not known"):
        expanded("~/x", "OUT")


def test_without_a_home_a_given_folder_will_do(homeless, tmp_path):
    assert main(["profile", "--config-dir", str(tmp_path / "own"), "--", "true"]) == 0
    assert (tmp_path / "own" / "workload" / "mine.yaml").is_file()

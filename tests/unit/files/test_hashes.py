from __future__ import annotations

import json
import os

from rondel.files.hashes import HashCache, manifest_digest


def age(path, seconds=100):
    stat = path.stat()
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns - seconds * 10**9))


def test_a_folder_has_the_digest_that_dvc_gives_it(tmp_path):
    # Made with `dvc add` of DVC 3.67.1 on the same three files.
    folder = tmp_path / "d"
    (folder / "sub").mkdir(parents=True)
    (folder / "b.txt").write_text("b\n")
    (folder / "a.txt").write_text("a\n")
    (folder / "sub" / "c.txt").write_text("c\n")
    assert HashCache(tmp_path).of("d") == "md5:a347257a96b0f993ee56b347efbf4a59.dir"


def test_the_order_of_files_does_not_matter():
    files = {"b": "1" * 32, "a/c": "2" * 32, "a.b": "3" * 32}
    assert manifest_digest(files) == manifest_digest(dict(reversed(files.items())))


def test_dvcignore_takes_files_out(tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "a.txt").write_text("a\n")
    plain = HashCache(tmp_path).of("d")
    (tmp_path / "d" / "x.tmp").write_text("x")
    (tmp_path / ".dvcignore").write_text("# not these\n*.tmp\n")
    assert HashCache(tmp_path).of("d") == plain


def test_a_missing_file_has_no_hash(tmp_path):
    assert HashCache(tmp_path).of("nothing") is None


def test_an_old_file_is_read_once(tmp_path):
    file = tmp_path / "f"
    file.write_text("one")
    cache = HashCache(tmp_path)
    first = cache.of("f")
    # Too young to be told from its own next change: not remembered.
    cache.save()
    assert not (tmp_path / ".rondel/cache/hashes.json").exists()
    known = [
        file.stat().st_size,
        file.stat().st_mtime_ns,
        file.stat().st_ctime_ns,
        file.stat().st_ino,
        "feed",
    ]
    (tmp_path / ".rondel/cache").mkdir(parents=True)
    (tmp_path / ".rondel/cache/hashes.json").write_text(json.dumps({"f": known}))
    assert HashCache(tmp_path).of("f") == "md5:feed"
    file.write_text("two!")
    assert HashCache(tmp_path).of("f") not in {"md5:feed", first}


def test_a_damaged_cache_costs_only_time(tmp_path):
    (tmp_path / ".rondel/cache").mkdir(parents=True)
    (tmp_path / ".rondel/cache/hashes.json").write_text("{")
    (tmp_path / "f").write_text("one")
    assert HashCache(tmp_path).of("f") == "md5:f97c5d29941bfb1b2fdab0874906ab82"

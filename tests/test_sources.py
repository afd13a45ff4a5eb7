"""Files, folders, lists and patterns become the videos that they mean."""

from pathlib import Path

import pytest

from temporal_hmr.errors import InputError
from temporal_hmr.many.sources import find_sources
from temporal_hmr.video import open_clip


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


class TestSources:
    def test_files_in_the_order_given_each_once(self, tmp_path, caplog) -> None:
        b, a = tmp_path / "b.mp4", tmp_path / "a.mp4"
        touch(a, b)
        (tmp_path / "link.mp4").symlink_to(a)
        words = [b, a, tmp_path / "link.mp4", tmp_path / "." / "b.mp4", a]
        assert find_sources([str(word) for word in words]) == [b, a]
        assert [record.getMessage() for record in caplog.records] == [
            f"named more than once, taken once: {a}, {b}"
        ]

    def test_links_in_a_circle_stay_for_opening_to_refuse(self, tmp_path) -> None:
        circle, a = tmp_path / "circle.mp4", tmp_path / "a.mp4"
        circle.symlink_to(circle)
        touch(a)
        assert find_sources([str(circle), str(a)]) == [circle, a]
        with pytest.raises(InputError, match=r"no video at .*circle\.mp4"):
            open_clip(circle)

    def test_a_folder_of_videos_is_each_of_them(self, tmp_path) -> None:
        names = ("walk.mp4", "Run.MOV", "jump.avi", "notes.txt", ".hidden.mp4", "sub/deep.mp4")
        touch(*(tmp_path / name for name in names))
        (tmp_path / "folder.mp4").mkdir()
        found = find_sources([str(tmp_path)])
        assert [path.name for path in found] == ["Run.MOV", "jump.avi", "walk.mp4"]

    def test_a_folder_of_images_is_one_source(self, tmp_path) -> None:
        touch(tmp_path / "1.png", tmp_path / "2.png")
        assert find_sources([str(tmp_path)]) == [tmp_path]

    def test_a_folder_of_both_is_refused_by_name(self, tmp_path) -> None:
        touch(tmp_path / "1.png", tmp_path / "walk.mp4")
        with pytest.raises(InputError, match="name the videos themselves") as refused:
            find_sources([str(tmp_path)])
        for named in (str(tmp_path), "1.png", "walk.mp4"):
            assert named in str(refused.value)

    def test_a_list_counts_from_its_own_folder(self, tmp_path, monkeypatch) -> None:
        home = tmp_path / "[set 1]"  # no pattern
        touch(
            home / "a.mp4", home / "more" / "b.mp4", home / "frames" / "1.png", tmp_path / "c.mp4"
        )
        (home / "list.txt").write_text(
            f"\ufeff# mine\n\n  a.mp4 \nmore\nframes\nabsent #1.mp4\nm*/*.mp4\n{tmp_path}/c.mp4\n",
            encoding="utf-8",
        )
        monkeypatch.chdir("/")
        found = find_sources([str(home / "list.txt")])
        names = ["a.mp4", "more/b.mp4", "frames", "absent #1.mp4", tmp_path / "c.mp4"]
        assert found == [home / name for name in names]

    @pytest.mark.parametrize(
        ("content", "said"),
        [(b"# nothing\n\n", "names no video"), (b"\xff\xfe", "not text"), (b"a\0b", "not text")],
    )
    def test_a_list_that_is_none_is_refused(self, content, said, tmp_path) -> None:
        (tmp_path / "list.txt").write_bytes(content)
        with pytest.raises(InputError, match=said):
            find_sources([str(tmp_path / "list.txt")])

    def test_patterns_that_the_shell_left_alone(self, tmp_path, monkeypatch) -> None:
        monkeypatch.chdir(tmp_path)
        touch(*map(Path, ("b2.mp4", "b1.mp4", "b3.avi", "[x].mp4", "x.mp4", "in/two.mp4")))
        assert find_sources(["b*.mp4", "in"]) == [*map(Path, ("b1.mp4", "b2.mp4", "in/two.mp4"))]
        assert find_sources(["[x].mp4"]) == [Path("[x].mp4")]
        assert find_sources(["none*.mp4"]) == [Path("none*.mp4")]

    def test_an_empty_word_is_not_the_working_folder(self, tmp_path, monkeypatch) -> None:
        monkeypatch.chdir(tmp_path)
        touch(Path("1.png"))
        with pytest.raises(InputError, match="SOURCE is empty"):
            find_sources(["", "a.mp4"])

    @pytest.mark.parametrize("word", ["http://example.com/a.mp4?b=c", "rtsp://10.0.0.1:554/live"])
    def test_an_address_is_refused_as_typed(self, word, tmp_path, monkeypatch) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "list.txt").write_text(word)
        for words in ([word], ["list.txt"]):
            with pytest.raises(InputError) as refused:
                find_sources(words)
            assert str(refused.value).startswith(f"{word} is an address: download the video first")

    def test_a_path_that_looks_like_an_address_is_one(self, tmp_path, monkeypatch) -> None:
        monkeypatch.chdir(tmp_path)
        touch(Path("http:/a.mp4"))
        assert find_sources(["http://a.mp4"]) == [Path("http:/a.mp4")]

"""Pictures as videos hold them: the same colours, drawn into alike, else untouched."""

from contextlib import closing
from dataclasses import replace
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest
from test_overlay import standing
from test_video import displayed

from temporal_hmr.camera import Camera
from temporal_hmr.given.lens import Lens, straight_clip
from temporal_hmr.output import footage as footage_module
from temporal_hmr.output.encoding import plays_everywhere, write_video
from temporal_hmr.output.footage import Footage, footage
from temporal_hmr.output.overlay import Artist, OverlayStyle, write_overlay
from temporal_hmr.output.planar import Matrix, Planar, beside, inks, size_of
from temporal_hmr.video import Clip, open_clip

MATRICES: tuple[Matrix, ...] = ("smpte170m", "bt709")
needs_pyav = pytest.mark.skipif(not plays_everywhere(), reason="PyAV is not installed")


def smooth(height: int = 120, width: int = 160, seed: int = 0) -> np.ndarray:
    """Without the edges of colour that half the size blurs."""
    small = np.random.default_rng(seed).uniform(50, 205, (4, 5, 3)).astype(np.float32)
    image = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(image, 0, 255).astype(np.uint8)


def either_way(artist: Artist, planar: Planar, index: int = 0) -> tuple[Planar, np.ndarray]:
    """What is drawn into copies of a planar picture, and of the same one in RGB."""
    return artist.draw_over(planar.copy(), index), artist.draw_over(planar.rgb().copy(), index)


def off(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.abs(one.astype(int) - other.astype(int))


@pytest.mark.parametrize("matrix", MATRICES)
def test_colours_survive_the_way_there_and_back(matrix) -> None:
    image = smooth()
    planar = Planar.of(image, matrix)
    assert (planar.height, planar.width) == size_of(planar) == (120, 160)
    assert [plane.shape for plane in planar.planes()] == [(120, 160), (60, 80), (60, 80)]
    assert off(planar.rgb(), image).mean() < 2


@needs_pyav
@pytest.mark.parametrize(("matrix", "name"), [("smpte170m", "ITU601"), ("bt709", "ITU709")])
def test_planes_are_what_ffmpeg_makes_of_an_image(matrix, name: str) -> None:
    from av import VideoFrame

    image = smooth()
    frame = VideoFrame.from_ndarray(image, format="rgb24")
    theirs = frame.reformat(
        format="yuv420p", dst_colorspace=name, src_color_range="JPEG", dst_color_range="MPEG"
    )
    assert off(Planar.of(image, matrix).sheet, theirs.to_ndarray()).mean() < 1


@pytest.mark.parametrize("matrix", MATRICES)
def test_black_white_and_grey_have_no_colour(matrix) -> None:
    planar = Planar(np.zeros((6, 4), np.uint8), matrix)
    made = inks(np.array([[0.0] * 3, [1.0] * 3, [0.5] * 3]), planar)
    np.testing.assert_allclose(made, [[16, 235, 125.5], [128] * 3, [128] * 3])


def test_planes_are_views_and_copies_are_not() -> None:
    planar = Planar.of(smooth())
    copied = planar.copy()
    for plane in planar.planes():
        plane[:] = 7
    assert (planar.sheet == 7).all() and (copied.sheet != 7).any()


@pytest.mark.parametrize("matrix", MATRICES)
@pytest.mark.parametrize("index", [0, 1])
@pytest.mark.parametrize("people", [1, 2])
def test_bodies_look_the_same_either_way(body, people: int, index: int, matrix) -> None:
    motions = [standing(body, number, (0.2 * number, 0, 3 + number)) for number in range(people)]
    image, style = smooth(), OverlayStyle(person_ids=False)
    planar = Planar.of(image, matrix)
    seen, expected = either_way(Artist(motions, body, style), planar, index)
    assert isinstance(seen, Planar)
    # Colours have half the size: at outlines they are not the same.
    error = off(cv2.blur(seen.rgb(), (3, 3)), cv2.blur(expected, (3, 3)))
    assert error.mean() < 1 and np.quantile(error, 0.999) < 16
    painted = off(expected, planar.rgb()).max(-1) > 0
    away = cv2.dilate(painted.astype(np.uint8), np.ones((5, 5))) == 0
    assert away.sum() > 5000
    np.testing.assert_array_equal(seen.planes()[0][away], planar.planes()[0][away])


def test_the_original_stays_untouched(body) -> None:
    planar = Planar.of(smooth())
    before = planar.sheet.copy()
    artist = Artist([standing(body, 0, (0, 0, 3))], body, OverlayStyle())
    drawn = artist.draw(Footage(0, planar))
    assert isinstance(drawn, Planar)
    np.testing.assert_array_equal(planar.sheet, before)
    assert off(drawn.sheet, before).max() > 20


@pytest.mark.parametrize("place", [(20, 30), (-300, -300), (140, 118), (2000, 50)])
def test_numbers_and_lines_look_the_same_either_way(body, place: tuple[int, int]) -> None:
    motion = standing(body, 3, (9, 0, 3))
    x, y = place
    motion.keypoints[0] = [[x + 2 * joint, y + joint, 1] for joint in range(23)]
    motion.boxes[0] = [x, y, x + 40, y + 70]
    artist = Artist([motion], body, OverlayStyle(keypoints=True))
    planar = Planar.of(np.full((120, 160, 3), 60, np.uint8))
    seen, expected = either_way(artist, planar)
    # Thin lines have their brightness, and a part of their colour.
    assert off(seen.rgb().mean(-1), expected.mean(-1)).max() < 40
    assert off(seen.rgb(), expected).mean() < 2
    drawn = (off(expected, planar.rgb()) > 20).any()
    assert drawn == (off(seen.sheet, planar.sheet) > 20).any() == (0 < place[0] < 160)


@pytest.mark.parametrize("matrix", MATRICES)
def test_a_view_from_the_side_comes_beside_it(body, matrix) -> None:
    motion, image = standing(body, 0, (0, 0, 3)), smooth()
    both = Artist([motion], body, OverlayStyle(side_view=True))
    planar = Planar.of(image, matrix)
    seen, expected = either_way(both, planar)
    assert size_of(seen) == size_of(expected) and seen.matrix == matrix
    assert off(seen.rgb(), expected).mean() < 2
    left = beside(planar, image).rgb()[:, :160]
    assert off(left, planar.rgb()).max() <= 2


def write_clip(path: Path, matrix: Matrix = "smpte170m", count: int = 12, size=(120, 160)) -> Clip:
    images = [smooth(*size, seed=number) for number in range(count)]
    pictures = images if size[0] % 2 else [Planar.of(image, matrix) for image in images]
    write_video(pictures, 25, path)
    return open_clip(path)


def same(clip: Clip, planar: int) -> None:
    """The footage is the clip, and so many frames of it are planar."""
    expected, found = list(clip), list(footage(clip))
    assert [frame.index for frame in found] == [frame.index for frame in expected]
    for frame, theirs in zip(found, expected, strict=True):
        image = frame.image.rgb() if isinstance(frame.image, Planar) else frame.image
        assert off(image, theirs.image).mean() < 3
    assert sum(isinstance(frame.image, Planar) for frame in found) == planar


@needs_pyav
@pytest.mark.parametrize("matrix", MATRICES)
def test_footage_is_the_clip_in_its_own_colours(matrix, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", matrix)
    same(clip, 12)
    matrices = {frame.image.matrix for frame in footage(clip) if isinstance(frame.image, Planar)}
    assert matrices == {matrix}


@needs_pyav
def test_footage_of_a_part_is_that_part(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", count=70)
    assert clip.indices() == range(70)
    same(clip.with_range(0.2, 0.4), 5)
    same(clip.with_range(2.5), 7)
    same(clip.with_range(0.1).every(9), 8)


@needs_pyav
@pytest.mark.parametrize(("number", "planar"), [(7, 12), (0, 0)])
def test_frames_at_other_times_are_not_believed(
    number: int, planar: int, tmp_path: Path, monkeypatch
) -> None:
    """Two readers do not agree on what some frame is: from there on the clip's own are taken."""
    clip, decoded = write_clip(tmp_path / "clip.mp4"), footage_module.decoded_frames

    def skipping(path: Path, begin: float | None):
        with closing(decoded(path, begin)) as frames:
            for count, (time, frame) in enumerate(frames):
                yield time if count < number else time + 0.01, frame

    monkeypatch.setattr(footage_module, "decoded_frames", skipping)
    same(clip, planar)


@needs_pyav
def test_frames_that_cannot_be_decoded_come_from_the_clip(tmp_path: Path, monkeypatch) -> None:
    decoded = footage_module.decoded_frames

    for matrix in MATRICES:
        clip = write_clip(tmp_path / f"{matrix}.mp4", matrix)
        for count, planar in ((5, 12), (0, 0)):

            def some(path: Path, begin: float | None, count: int = count):
                with closing(decoded(path, begin)) as frames:
                    yield from islice(frames, count)

            monkeypatch.setattr(footage_module, "decoded_frames", some)
            same(clip, planar)


@needs_pyav
def test_what_is_not_plain_is_taken_as_rgb(tmp_path: Path, monkeypatch) -> None:
    same(write_clip(tmp_path / "odd.mkv", size=(121, 160)), 12)
    clip = write_clip(tmp_path / "clip.mp4")
    for name, value in (("width", 158), ("height", 118)):
        assert list(footage_module._planar(replace(clip, **{name: value}))) == []
    (tmp_path / "upside_down.mp4").write_bytes(displayed(clip.path.read_bytes(), 1, 0, 0, -1))
    same(open_clip(tmp_path / "upside_down.mp4"), 0)
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(3):
        cv2.imwrite(str(folder / f"{number}.png"), smooth(seed=number))
    same(open_clip(folder), 0)
    monkeypatch.setattr(footage_module, "plays_everywhere", lambda: False)
    same(clip, 0)


@needs_pyav
def test_without_its_lens_a_clip_is_not_as_in_its_file(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4")
    lens = Lens(Camera.with_assumed_focal(clip.width, clip.height), (-0.3, 0.1, 0.0, 0.0))
    same(straight_clip(clip, lens), 0)


@needs_pyav
def test_times_in_single_precision_are_believed(tmp_path: Path) -> None:
    """decord's, which after an hour are off by more than a ten thousandth of a second."""
    clip, decoded = write_clip(tmp_path / "clip.mp4"), footage_module.decoded_frames

    def late(path: Path, begin: float | None):
        for time, frame in decoded(path, begin):
            yield time + 5000, frame

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(footage_module, "decoded_frames", late)
        same(replace(clip, times=clip.times + 5000 + 2e-4), 12)


@needs_pyav
@pytest.mark.parametrize("matrix", MATRICES)
def test_an_overlay_keeps_the_colours_of_its_video(body, matrix, tmp_path: Path) -> None:
    import av

    clip = write_clip(tmp_path / "clip.mp4", matrix)
    write_overlay(footage(clip), 25, [], body, tmp_path / "overlay.mp4")
    with av.open(str(tmp_path / "overlay.mp4")) as container:
        stated = container.streams.video[0].codec_context.colorspace
    assert stated == {"smpte170m": 6, "bt709": 1}[matrix]
    for before, after in zip(clip, open_clip(tmp_path / "overlay.mp4"), strict=True):
        assert off(before.image, after.image).mean() < 3


def test_without_pyav_planar_pictures_can_be_written(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("temporal_hmr.output.encoding.plays_everywhere", lambda: False)
    images = [smooth(seed=number) for number in range(3)]
    write_video([Planar.of(image) for image in images], 25, tmp_path / "clip.mp4")
    for image, frame in zip(images, open_clip(tmp_path / "clip.mp4"), strict=True):
        assert off(image, frame.image).mean() < 5

"""The page of a result: offline, harmless, no larger than allowed, with just the file's numbers."""

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from viewer_contents import Contents, parsed
from viewer_results import (
    COUNT,
    FPS,
    HOSTILE,
    as_motion,
    broken,
    grey_of,
    image_folder,
    two_walkers,
    walker,
    write,
)
from walking import predicted, walk

from temporal_hmr import metrics
from temporal_hmr.body.load import load_body
from temporal_hmr.body.model import BodyModel
from temporal_hmr.errors import InputError
from temporal_hmr.motion import InWorld
from temporal_hmr.output.viewer.arrays import Pack
from temporal_hmr.output.viewer.curves import joint_curves, sampled
from temporal_hmr.output.viewer.frames import frames_of, step_within
from temporal_hmr.output.viewer.page import Page, PageSettings, build_page
from temporal_hmr.output.viewer.people import ABSENT, BROKEN, FILLED_IN, SEEN
from temporal_hmr.output.viewer.pictures import take_pictures
from temporal_hmr.output.viewer.result import Result, open_result
from temporal_hmr.output.viewer.stage import set_stage
from temporal_hmr.rotation import axis_angle_to_matrix, matrix_to_quaternion
from temporal_hmr.skeleton import SMPL24
from temporal_hmr.video import Clip, Frame, open_clip


@pytest.fixture(scope="module")
def body() -> BodyModel:
    return load_body(dtype=torch.float64)


@pytest.fixture(scope="module", autouse=True)
def _loaded_once(body: BodyModel) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("temporal_hmr.checks.reading.load_body", lambda *_, **__: body)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, body: BodyModel) -> Path:
    return two_walkers(tmp_path_factory.mktemp("view") / "walk", body, HOSTILE)


@pytest.fixture(scope="module")
def result(folder: Path) -> Result:
    return open_result(folder)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    return open_clip(image_folder(tmp_path_factory.mktemp("video") / "walk"), fps=FPS)


@pytest.fixture(scope="module")
def page(result: Result, clip: Clip) -> Page:
    return build_page(result, clip, "")


@pytest.fixture(scope="module")
def contents(page: Page) -> Contents:
    return Contents(page)


class TestOffline:
    def test_the_page_loads_nothing(self, page: Page) -> None:
        found = parsed(page)
        for tag, attributes in found.tags:
            assert not {"src", "href", "srcset", "action", "data"} & attributes.keys(), tag
        assert not found.named("link") + found.named("img") + found.named("iframe")
        text = page.text.replace(found.scripts["head"], "")
        assert not re.search(r"(?i)https?:|url\(|@import|fetch\(|XMLHttp|WebSocket|import\(", text)

    def test_the_browser_is_told_to_load_nothing(self, page: Page) -> None:
        found = parsed(page)
        policy = next(m["content"] for m in found.named("meta") if "http-equiv" in m)
        assert policy is not None and policy.startswith("default-src 'none';")
        digest = base64.b64encode(hashlib.sha256(found.scripts[None].encode()).digest()).decode()
        assert policy.endswith(f"script-src 'sha256-{digest}'")

    def test_no_name_of_a_file_becomes_markup(self, page: Page) -> None:
        found = parsed(page)
        assert [tag["id"] for tag in found.named("script")[:-1]] == [
            "head",
            "arrays",
            "picture-bytes",
        ]
        assert json.loads(found.scripts["head"])["title"] == HOSTILE
        assert "<img" not in page.text and "\u2028" not in found.scripts["head"]

    def test_equal_results_make_equal_pages(self, result: Result, page: Page, clip: Clip) -> None:
        assert build_page(result, clip, "").text == page.text

    def test_elements_that_scripts_ask_for_are_there(self, page: Page) -> None:
        found = parsed(page)
        identifiers = {attributes.get("id") for _, attributes in found.tags}
        asked = set(
            re.findall(r'(?:getElementById|(?<![.\w])get|take)\("([\w-]+)"\)', found.scripts[None])
        )
        assert asked and asked <= identifiers


class TestNumbers:
    def test_poses_are_those_of_the_files(self, contents: Contents, folder: Path) -> None:
        for person, name in enumerate(("person_000.npz", "person_003.npz")):
            stored = np.load(folder / name)
            turns = contents.of(person, "quaternions")
            turns = turns / np.linalg.norm(turns, axis=-1, keepdims=True)
            poses = torch.from_numpy(stored["poses"]).double().unflatten(-1, (24, 3))
            true = matrix_to_quaternion(axis_angle_to_matrix(poses)).numpy()
            cosine = np.abs((turns * true).sum(-1)).clip(0, 1)
            assert np.degrees(2 * np.arccos(cosine)).max() < 0.15  # arccos near one is coarse
            assert np.abs(np.abs(turns) - np.abs(true)).max() < 1e-4
            assert np.array_equal(contents.of(person, "translations"), stored["trans"])
            assert np.array_equal(contents.of(person, "boxes"), stored["bbox_xyxy"])
            points = contents.of(person, "keypoints")
            assert np.abs(points - stored["keypoints2d"][..., :2]).max() < 0.01
            confidence = contents.of(person, "confidence") / 255
            assert np.abs(confidence - stored["confidence"]).max() <= 0.5 / 255 + 1e-6

    def test_shapes_are_those_of_the_body(self, contents: Contents, body: BodyModel) -> None:
        template = body.v_template.numpy()
        assert np.abs(contents.of(0, "template") - template).max() < 5e-5
        rest = body.rest_joints(torch.zeros(10).double()).numpy()
        assert np.abs(contents.of(0, "restJoints") - rest).max() < 1e-6
        stated = contents.head["body"]
        weights = contents.array(stated["skinWeights"]) / 65535
        joints = contents.array(stated["skinJoints"])
        full = np.zeros(body.weights.shape)
        np.put_along_axis(full, joints.astype(int), weights, 1)
        assert np.abs(full - body.weights.numpy()).max() < 1e-5
        assert np.array_equal(contents.array(stated["faces"]), body.faces.numpy())

    def test_who_is_seen_filled_in_and_absent(self, contents: Contents) -> None:
        first, second = contents.people
        assert (first["id"], first["first"], first["count"]) == (0, 0, COUNT)
        assert (second["id"], second["first"], second["count"]) == (3, 10, COUNT - 10)
        expected = [SEEN, SEEN, FILLED_IN, FILLED_IN, *[SEEN] * 10]
        assert contents.of(1, "status").tolist() == expected
        assert second["observedFrames"] == COUNT - 12
        assert second["span"] == [pytest.approx(10 / FPS), pytest.approx((COUNT - 1) / FPS)]

    def test_times_are_the_video_s(self, contents: Contents) -> None:
        assert contents.array(contents.head["frames"]).tolist() == list(range(COUNT))
        assert np.abs(np.array(contents.head["times"]) - np.arange(COUNT) / FPS).max() < 1e-6

    def test_every_picture_is_of_its_frame(self, contents: Contents) -> None:
        for frame in (0, 7, COUNT - 1):
            assert abs(contents.picture(frame).mean() - grey_of(frame)) < 2

    def test_mean_curves_are_the_metrics(self, contents: Contents, folder: Path) -> None:
        joints = np.load(folder / "person_000.npz")["joints3d"].astype(float)
        jitter = metrics.jitter(joints, FPS)
        shown = contents.curve(0, "jitter camera").mean(1)[jitter.frames]
        assert np.allclose(shown, jitter.values, rtol=2e-3)
        rooted = joints - joints[:, :1]
        acceleration = metrics.acceleration(rooted, FPS)
        shown = contents.curve(0, "acceleration pelvis").mean(1)[acceleration.frames]
        assert np.allclose(shown, acceleration.values, rtol=2e-3)

    def test_strict_json(self, page: Page) -> None:
        def refuse(constant: str) -> None:
            raise AssertionError(f"{constant} is no JSON")

        json.loads(parsed(page).scripts["head"], parse_constant=refuse)


class TestPack:
    @pytest.mark.parametrize("kind", ["float32", "float16", "int16"])
    def test_what_is_not_a_number_stays_so(self, kind) -> None:
        pack = Pack()
        values = np.array([[1.0, np.nan], [-2.0, 0.0]])
        pack.add(np.zeros(3), "uint8")
        entry = pack.table[pack.add(values, kind)]
        assert entry["at"] == 4 and entry["shape"] == [2, 2]
        stored = np.frombuffer(base64.b64decode(pack.text())[4:], np.dtype(kind), 4)
        if kind == "int16":
            assert stored.tolist() == [16384, -32768, -32767, 0]
            assert entry["step"] == 2 / 32767
        else:
            assert np.array_equal(stored, values.ravel(), equal_nan=True)

    def test_what_is_too_large_stays_finite(self) -> None:
        pack = Pack()
        pack.add(np.array([1e9, -1e9]), "float16")
        stored = np.frombuffer(base64.b64decode(pack.text()), "<f2")
        assert stored.tolist() == [65504, -65504]


class TestCurves:
    def test_of_a_joint_that_falls(self, result: Result) -> None:
        """x = t^3: speed, acceleration and jitter are known."""
        person = result.people[0]
        joints = person.joints.copy()
        times = np.arange(COUNT) / FPS
        wrist = SMPL24.index("left_wrist")
        joints[:] = 0
        joints[:, wrist, 1] = times**3
        curves = joint_curves(replace(person, joints=joints), FPS)
        middle = slice(3, -3)
        assert np.allclose(curves["acceleration camera"][middle, wrist], 6 * times[middle])
        assert np.allclose(curves["jitter pelvis"][middle, wrist], 0.6)
        step = times[5] ** 3 - times[4] ** 3
        assert curves["speed camera"][5, wrist] == pytest.approx(step * FPS)
        assert np.isnan(curves["speed camera"][0]).all()
        assert np.nanmax(curves["jitter camera"][:, SMPL24.index("head")]) == 0

    def test_the_angle_is_that_of_the_bend(self, result: Result) -> None:
        person = result.people[0]
        angles = joint_curves(person, FPS)["angle"]
        knee = SMPL24.index("left_knee")
        turns = person.smpl.rotations()[:, knee]
        cosine = (turns.diagonal(dim1=-2, dim2=-1).sum(-1).numpy() - 1) / 2
        assert np.allclose(angles[:, knee], np.degrees(np.arccos(cosine)), atol=1e-4)
        assert angles[0, SMPL24.index("pelvis")] == pytest.approx(0, abs=1e-6)

    def test_no_peak_is_lost_where_frames_are_left_out(self) -> None:
        values = np.full((10, 24), np.nan)
        values[[1, 4, 9], 0] = [7.0, 3.0, 5.0]
        shown = sampled(values, np.array([0, 3, 6, 9]), highest=True)
        assert np.array_equal(shown[:, 0], [7, 3, np.nan, 5], equal_nan=True)
        assert np.isnan(sampled(values, np.array([0, 3]), highest=False)).all()


class TestSize:
    def test_a_small_page_shows_fewer_frames(self, result: Result, clip: Clip) -> None:
        tight = PageSettings(megabytes=0.78)
        page = build_page(result, clip, "", tight)
        assert len(page.text.encode()) < 0.78e6
        contents = Contents(page)
        step = contents.head["step"]
        assert step > 1 and any(f"One frame of {step} is shown" in note for note in page.notes)
        numbers = contents.array(contents.head["frames"])
        assert numbers.tolist() == list(range(0, COUNT, step))
        assert abs(contents.picture(1).mean() - grey_of(step)) < 2
        stored = np.load(result.path / "person_003.npz")
        rows = numbers[numbers >= 10] - 10
        assert np.array_equal(contents.of(1, "translations"), stored["trans"][rows])

    def test_what_fits_in_no_page_is_refused(self, result: Result) -> None:
        with pytest.raises(InputError, match=r"--megabytes 0\.1 is too little.*at least 0\.[0-9]"):
            build_page(result, None, "", PageSettings(megabytes=0.1))

    def test_a_range_is_all_there_is(self, result: Result, clip: Clip) -> None:
        page = build_page(result, clip, "", PageSettings(start=0.5, end=1.0))
        contents = Contents(page)
        assert contents.array(contents.head["frames"]).tolist() == list(range(6, 12))
        assert [(p["first"], p["count"]) for p in contents.people] == [(0, 6), (4, 2)]
        assert abs(contents.picture(0).mean() - grey_of(6)) < 2
        before = build_page(result, None, "", PageSettings(end=0.5))
        assert [person["id"] for person in Contents(before).people] == [0]

    def test_the_smallest_step_that_fits(self) -> None:
        assert [step_within(100, 10, room) for room in (1000, 999, 500, 10, 1)] == [
            1,
            2,
            2,
            100,
            100,
        ]

    def test_pictures_shrink_into_their_room(self) -> None:
        noise = np.random.default_rng(0).integers(0, 256, (240, 320, 3), np.uint8)
        frames = [Frame(number, number / 30, noise) for number in range(3)]
        large = take_pictures(frames, np.arange(3), (320, 240), 1e9)
        assert (large.width, large.height) == (320, 240)
        small = take_pictures(frames, np.arange(3), (320, 240), len(large) / 4)
        assert len(small) <= len(large) / 4
        assert small.width < 250 and small.width / small.height == pytest.approx(4 / 3, rel=0.02)


class TestFrames:
    def test_without_a_video_they_reach_from_the_first_to_the_last(self, result: Result) -> None:
        late = replace(result, people=result.people[1:])
        frames = frames_of(late, None)
        assert frames.numbers.tolist() == list(range(10, COUNT))
        assert np.allclose(frames.times, frames.numbers / FPS)

    def test_a_video_that_is_too_short_is_refused(self, result: Result, tmp_path: Path) -> None:
        short = open_clip(image_folder(tmp_path / "short", 5), fps=FPS)
        with pytest.raises(InputError, match=r"has 5 frames, but .* has people in frame 23"):
            frames_of(result, short)

    def test_only_what_was_tracked_is_shown(self, result: Result, clip: Clip) -> None:
        settings = {"start": 10 / FPS, "end": 2.0}
        late = replace(result, people=result.people[1:], meta={**result.meta, "settings": settings})
        assert frames_of(late, clip).numbers.tolist() == list(range(10, 24))

    def test_an_empty_range_is_refused(self, result: Result) -> None:
        with pytest.raises(InputError, match="within --start and --end: it runs from 0 s"):
            frames_of(result, None, start=5.0)
        with pytest.raises(InputError, match="--start takes a number of seconds, not nan"):
            frames_of(result, None, start=float("nan"))


class TestStage:
    def test_a_tilted_camera_leaves_people_upright(self, tmp_path: Path, body: BodyModel) -> None:
        """The camera looks 20 degrees down; in the world feet are at zero and heads above."""
        smpl = predicted(body, walk(body, COUNT, FPS)).smpl
        angle = np.radians(20)
        tilt = torch.tensor(
            [
                [1, 0, 0],
                [0, np.cos(angle), -np.sin(angle)],
                [0, np.sin(angle), np.cos(angle)],
            ]
        )
        seen = body.transform(smpl, tilt.expand(COUNT, 3, 3), torch.zeros(COUNT, 3).double())
        result = open_result(write(tmp_path / "tilted", [as_motion(body, seen, 0)], "walk"))
        stage = set_stage(result)
        assert "under the feet of person 0" in stage.note
        turn, shift = stage.world_from_camera[:3, :3], stage.world_from_camera[:3, 3]
        assert np.allclose(turn @ turn.T, np.eye(3)) and np.linalg.det(turn) == pytest.approx(1)
        down = torch.tensor([0.0, -1, 0]).double() @ tilt.mT
        assert np.degrees(np.arccos((turn @ down.numpy())[1])) < 3
        heights = (result.people[0].joints @ turn.T + shift)[..., 1]
        ankles, head = SMPL24.indices("left_ankle", "right_ankle"), SMPL24.index("head")
        assert 0.02 < heights[:, ankles].min() < 0.15
        assert heights[:, head].min() > 1.3 and heights[:, head].max() < 1.7
        assert shift[2] > 3 and abs(shift[0]) < 0.01  # the camera is in front of the people

    def test_the_world_of_the_result_is_the_one_that_is_shown(
        self, tmp_path: Path, body: BodyModel
    ) -> None:
        motion = as_motion(body, predicted(body, walk(body, COUNT, FPS)).smpl, 0)
        matrix = np.diag([1.0, -1, -1, 1])
        matrix[:3, 3] = (0.1, 1.4, 3.0)
        placed = replace(motion, world=InWorld(motion.smpl, matrix, {}))
        stage = set_stage(open_result(write(tmp_path / "placed", [placed], "walk")))
        assert np.allclose(stage.world_from_camera, matrix) and "of the result" in stage.note

    def test_without_feet_that_rest_up_is_up_in_the_image(
        self, tmp_path: Path, body: BodyModel
    ) -> None:
        result = open_result(write(tmp_path / "one", [as_motion(body, predicted(
            body, walk(body, COUNT, FPS)).smpl[:2], 0)], "walk"))  # fmt: skip
        stage = set_stage(result)
        assert "guess" in stage.note
        assert np.allclose(stage.world_from_camera[:3, :3], np.diag([1, -1, -1]))


class TestFaults:
    def test_a_frame_that_is_no_number_is_marked(self, tmp_path: Path, body: BodyModel) -> None:
        folder = write(tmp_path / "nan", [broken(walker(body, 0, 0.0), 5)], "walk")
        contents = Contents(build_page(open_result(folder), None, "none"))
        status = contents.of(0, "status")
        assert status[5] == BROKEN and (status[6:] == SEEN).all()
        findings = {finding["name"]: finding for finding in contents.people[0]["findings"]}
        assert findings["nan_frames"]["moments"][0][:2] == [5, 5]

    def test_a_hole_in_a_track_is_absence(self, tmp_path: Path, body: BodyModel) -> None:
        motion = walker(body, 0, 0.0)
        frames = motion.frames + np.where(np.arange(COUNT) > 4, 3, 0)
        folder = write(tmp_path / "hole", [replace(motion, frames=frames)], "walk")
        status = Contents(build_page(open_result(folder), None, "none")).of(0, "status")
        assert len(status) == COUNT + 3
        assert (status[5:8] == ABSENT).all() and status[4] == status[8] == SEEN

    def test_a_stand_in_body_keeps_the_pelvis(self, tmp_path: Path, body: BodyModel) -> None:
        folder = write(tmp_path / "smpl", [walker(body, 0, 0.0)], "walk")
        path = folder / "person_000.npz"
        arrays = dict(np.load(path))
        arrays["meta"] = np.array(str(arrays["meta"]).replace('"body": "open"', '"body": "SMPL"'))
        arrays["betas"] = np.full(10, 2.0, np.float32)
        np.savez(path, **arrays)
        result = open_result(folder)
        assert not result.people[0].own_body and (result.people[0].smpl.betas == 0).all()
        assert np.allclose(result.people[0].joints[:, 0], arrays["joints3d"][:, 0], atol=1e-6)
        page = build_page(result, None, "none")
        assert any("made with the body SMPL, which was not given" in note for note in page.notes)

"""People found by RT-DETR and read by ViTPose: where their joints lie, and what is refused."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy import ndarray
from pretrained_folders import SIZE, change_weights, write_pose
from tracked_clips import leave, make_clip

from temporal_hmr.eyes import choose_eyes
from temporal_hmr.following import follow
from temporal_hmr.journal import Journal
from temporal_hmr.output.npz import load_motion
from temporal_hmr.people.heatmaps import cut_out, read_heatmaps, windows_around
from temporal_hmr.people.networks import Look, RtDetr, VitPose
from temporal_hmr.people.pretrained import find_networks
from temporal_hmr.people.vitpose import VitPosePeople, VitPoseSettings
from temporal_hmr.skeleton import COCO17, COCO23
from temporal_hmr.tracking import TrackSettings, prepare_job
from temporal_hmr.video import Frame

CPU = torch.device("cpu")
CROP = (256, 192)


class Finding:
    """Says what it is told."""

    def __init__(self, scores: list[float], boxes: Sequence[Sequence[float]]) -> None:
        self._scores, self._boxes = np.array(scores), np.array(boxes, float).reshape(-1, 4)

    def find(self, image: ndarray) -> tuple[ndarray, ndarray]:
        return self._scores, self._boxes


class Reading:
    """Sees discs, the colour of each joint another, and says so with Gaussians."""

    look = Look(CROP, (0.0,) * 3, (1.0,) * 3)
    cells = (64, 48)

    def __init__(self, joints: int = 17) -> None:
        self.joints = joints
        self.batches: list[int] = []

    def heatmaps(self, crops: ndarray) -> ndarray:
        self.batches.append(len(crops))
        return np.stack([[self.heatmap(crop, j) for j in range(self.joints)] for crop in crops])

    def heatmap(self, crop: ndarray, joint: int) -> ndarray:
        near = np.abs(crop.astype(int) - colour(joint)).max(-1) < 3
        rows, columns = self.cells
        if not near.any():
            return np.zeros(self.cells, np.float32)
        row, column = np.argwhere(near).mean(0) * [(rows - 1) / 255, (columns - 1) / 191]
        y, x = np.mgrid[:rows, :columns]
        return 0.9 * np.exp(-((y - row) ** 2 + (x - column) ** 2) / 8).astype(np.float32)


def colour(joint: int) -> ndarray:
    return np.array([40 + 9 * joint, 255 - 9 * joint, 60 + 80 * (joint % 3)])


def painted(places: ndarray, size: tuple[int, int] = (240, 320), radius: int = 3) -> Frame:
    image = np.zeros((*size, 3), np.uint8)
    for joint, (x, y) in enumerate(places.tolist()):
        cv2.circle(image, (x, y), radius, colour(joint).tolist(), -1)
    return Frame(0, 0.0, image)


def spread(box: list[int], joints: int = 17) -> ndarray:
    """Places (px) in rows of five within a box, none near another."""
    low, high = np.array(box[:2]), np.array(box[2:])
    share = np.array([[0.1 + 0.2 * (j % 5), 0.1 + 0.19 * (j // 5)] for j in range(joints)])
    return (low + share * (high - low)).astype(int)


class TestGeometry:
    @pytest.mark.parametrize(
        "box",
        [
            [100, 20, 190, 220],
            [40, 60, 290, 130],
            [0, 0, 120, 160],
            [200, 120, 320, 240],
            [0, 0, 320, 240],
        ],
        ids=["tall", "wide", "corner", "other corner", "whole image"],
    )
    def test_joints_come_back_to_where_they_are_in_the_image(self, box: list[int]) -> None:
        places = spread(box)
        (person,) = VitPosePeople(Finding([0.9], [box]), Reading()).people(painted(places))
        window = windows_around(np.array([box], float), 192 / 256)[0]
        cell = (window[2:] - window[:2]) / (47, 63)
        # The disc at pixel x covers half a pixel to both sides of x + 0.5.
        off = np.abs(person.keypoints[:17, :2] - (places + 0.5))
        assert (off < 0.5 * cell).all()
        assert np.abs((person.keypoints[:17, :2] - (places + 0.5)).mean(0)).max() < 0.3
        assert person.keypoints[:17, 2] == pytest.approx(np.full(17, 0.9), abs=0.05)
        assert not person.keypoints[17:].any()
        assert person.skeleton is COCO23 and person.box.tolist() == box

    def test_left_stays_left(self) -> None:
        """Nothing is mirrored, and no joint takes another's name."""
        places = spread([60, 20, 260, 220])
        left, right = COCO17.indices("left_wrist", "right_wrist")
        places[[left, right]] = [[220, 200], [80, 200]]
        finder = Finding([0.9], [[60, 20, 260, 220]])
        (person,) = VitPosePeople(finder, Reading()).people(painted(places))
        x = dict(zip(COCO23.joints, person.keypoints[:, 0], strict=True))
        assert x["left_wrist"] == pytest.approx(220.5, abs=1)
        assert x["right_wrist"] == pytest.approx(80.5, abs=1)

    def test_feet_are_known_to_a_network_of_the_whole_body(self) -> None:
        box = [60, 20, 260, 220]
        places = spread(box, 23)
        (person,) = VitPosePeople(Finding([0.9], [box]), Reading(23)).people(painted(places))
        assert np.abs(person.keypoints[:, :2] - places - 0.5).max() < 2
        assert (person.keypoints[:, 2] > 0.8).all()

    def test_windows_have_the_shape_of_the_crop_and_a_margin(self) -> None:
        boxes = np.array([[10.0, 20, 40, 120], [10, 20, 210, 40], [5, 5, 5, 5]])
        windows = windows_around(boxes, 0.75)
        sides = windows[:, 2:] - windows[:, :2]
        assert sides[:, 0] / sides[:, 1] == pytest.approx([0.75] * 3)
        assert sides[0, 1] == pytest.approx(125) and sides[1, 0] == pytest.approx(250)
        middles = (windows[:, :2] + windows[:, 2:]) / 2
        assert middles == pytest.approx((boxes[:, :2] + boxes[:, 2:]) / 2)

    def test_a_joint_outside_the_image_is_unknown(self) -> None:
        maps = np.zeros((1, 17, 64, 48), np.float32)
        maps[0, :, 30, 24] = 0.8
        maps[0, 0, 30, 24], maps[0, 0, 0, 0] = 0, 0.8
        reader = Reading()
        reader.heatmaps = lambda crops: maps  # type: ignore[method-assign]
        finder = Finding([0.9], [[0, 0, 100, 100]])
        (person,) = VitPosePeople(finder, reader).people(painted(np.zeros((0, 2))))
        assert not person.keypoints[0].any() and person.keypoints[1, 2] == pytest.approx(0.8)


class TestHeatmaps:
    def maps(self, confidence: float = 0.7) -> tuple[ndarray, ndarray]:
        random = np.random.default_rng(0)
        peaks = random.uniform(2, [45, 61], (3, 17, 2))
        y, x = np.mgrid[:64, :48]
        # Not round, or else what is across and what is down could be mixed up unseen.
        fall = (x - peaks[..., :1, None]) ** 2 / 8 + (y - peaks[..., 1:, None]) ** 2 / 18
        return (confidence * np.exp(-fall)).astype(np.float32), peaks

    def test_maxima_lie_between_the_cells(self) -> None:
        maps, peaks = self.maps()
        found = read_heatmaps(maps, np.tile([10.0, 20, 10 + 47, 20 + 63], (3, 1)))
        assert np.abs(found[..., :2] - [10, 20] - peaks).max() < 0.05
        assert np.abs(found[..., 2] - 0.7).max() < 0.05

    def test_whatever_the_network_says_confidences_are_shares(self) -> None:
        maps, _ = self.maps(3.0)
        maps[0], maps[1, 0] = -1, np.nan
        maps[2, :, :, :] += np.random.default_rng(1).uniform(0, 9, (17, 64, 48)) > 8.9
        found = read_heatmaps(maps, np.tile([5.0, 5, 52, 68], (3, 1)))
        assert not found[0].any() and not found[1, 0].any()
        assert np.isfinite(found).all() and found[..., 2].max() == 1

    def test_nothing_lies_farther_than_a_cell_from_its_maximum(self) -> None:
        noise = np.random.default_rng(2).uniform(0, 1, (3, 17, 64, 48)).astype(np.float32)
        found = read_heatmaps(noise, np.tile([0.0, 0, 47, 63], (3, 1)))
        rows, columns = np.divmod(noise.reshape(3, 17, -1).argmax(-1), 48)
        assert np.abs(found[..., :2] - np.stack([columns, rows], -1)).max() <= 1
        assert np.abs(found[..., :2] - np.stack([columns, rows], -1)).max() > 0.2

    def test_nobody_is_read_in_nothing(self) -> None:
        assert read_heatmaps(np.zeros((0, 17, 64, 48)), np.zeros((0, 4))).shape == (0, 17, 3)


class TestPeople:
    boxes = ([20, 20, 110, 220], [180, 20, 270, 220])

    def scene(self) -> Frame:
        left, right = (painted(spread(box)).image for box in self.boxes)
        return Frame(0, 0.0, left + right)

    def test_one_person_in_two_boxes_is_one(self) -> None:
        boxes = [*self.boxes, [22, 18, 112, 224]]
        people = VitPosePeople(Finding([0.8, 0.7, 0.9], boxes), Reading()).people(self.scene())
        assert [person.score for person in people] == [0.9, 0.7]
        assert people[0].box.tolist() == boxes[2]

    def test_the_unlikely_are_left_out(self) -> None:
        nowhere = [[120, 20, 170, 90], [-50, 10, -9, 90], [np.nan, 0, 9, 9], [9, 9, 9, 80]]
        finder = Finding([0.9, 0.4, 0.9, 0.9, 0.9, 0.9], [*self.boxes, *nowhere])
        (person,) = VitPosePeople(finder, Reading()).people(self.scene())
        assert person.box.tolist() == self.boxes[0]

    def test_nobody(self) -> None:
        assert VitPosePeople(Finding([], []), Reading()).people(self.scene()) == []

    def test_a_crowd_is_read_in_parts_and_as_each_alone(self) -> None:
        boxes = [[20 + 5 * n, 20, 110 + 5 * n, 220] for n in range(5)]
        settings = VitPoseSettings(least_confidence=0, same_person=2, most_at_once=2)
        scores, reader = [0.9, 0.8, 0.7, 0.6, 0.5], Reading()
        people = VitPosePeople(Finding(scores, boxes), reader, settings).people(self.scene())
        assert reader.batches == [2, 2, 1]
        for person, score, box in zip(people, scores, boxes, strict=True):
            finder = Finding([score], [box])
            (alone,) = VitPosePeople(finder, Reading(), settings).people(self.scene())
            assert np.array_equal(person.keypoints, alone.keypoints)

    def test_work_that_was_broken_off_goes_on_to_the_same(self, tmp_path: Path) -> None:
        scene = self.scene()
        frames = [Frame(n, n / 10, np.roll(scene.image, 2 * n, 1)) for n in range(6)]
        boxes = [[0, 20, 160, 220], [150, 20, 320, 220]]

        def run() -> tuple[list, Reading]:
            reader = Reading()
            detector = VitPosePeople(Finding([0.9, 0.8], boxes), reader)
            assert json.loads(json.dumps(detector.state())) == detector.state()
            with Journal(tmp_path / "j", "k") as journal:
                return follow(frames, detector, journal).tracks, reader

        whole, reader = run()
        assert len(whole) == 2 and reader.batches == [2] * 6
        lines = (tmp_path / "j").read_bytes().splitlines(keepends=True)
        (tmp_path / "j").write_bytes(b"".join(lines[:4]))
        again, reader = run()
        assert reader.batches == [2] * 3
        for a, b in zip(whole, again, strict=True):
            assert np.array_equal(a.keypoints, b.keypoints) and np.array_equal(a.boxes, b.boxes)


def processor(name: str):
    """Of transformers, that one which needs no torchvision."""
    import transformers

    return getattr(transformers, f"{name}Pil", None) or getattr(transformers, name)


class TestAsTransformersDoesIt:
    def picture(self) -> ndarray:
        noise = np.random.default_rng(0).integers(0, 255, (30, 40, 3), np.uint8)
        return cv2.resize(noise, (320, 240), interpolation=cv2.INTER_CUBIC)

    def test_boxes_of_people(self, eye_folder: Path) -> None:
        image, files = self.picture(), find_networks([eye_folder])[0]
        ours = RtDetr(files, CPU)
        scores, boxes = ours.find(image)
        theirs = processor("RTDetrImageProcessor")(size={"height": 96, "width": 128})
        pixels = theirs(image, return_tensors="pt")["pixel_values"]
        seen = {}
        ours._module.register_forward_pre_hook(
            lambda _, __, given: seen.update(given), with_kwargs=True
        )
        ours.find(image)
        # Theirs rounds to whole grey levels.
        assert float((seen["pixel_values"] - pixels).abs().max()) < 1.01 / 255
        with torch.inference_mode():
            told = ours._module(pixel_values=pixels)
        (found,) = theirs.post_process_object_detection(told, 0.5, [image.shape[:2]])
        assert found["labels"].tolist() == [1] * 6 and scores == pytest.approx([0.9526] * 6, 1e-3)
        for box in found["boxes"].numpy():
            assert np.abs(boxes - box).max(-1).min() < 0.5

    def test_crops_and_joints(self, eye_folder: Path) -> None:
        image, files = self.picture(), find_networks([eye_folder])[1]
        ours, theirs = VitPose(files, CPU), processor("VitPoseImageProcessor")()
        theirs.size = {"height": SIZE[0], "width": SIZE[1]}
        boxes = np.array([[100.0, 60, 170, 200], [40, 80, 250, 160]])
        windows = windows_around(boxes, SIZE[1] / SIZE[0])
        crops = np.stack([cut_out(image, window, SIZE) for window in windows])
        # They take a box for one that begins at the centre of a pixel.
        given = np.concatenate([boxes[:, :2] - 0.5, boxes[:, 2:] - boxes[:, :2]], 1)
        size = dict(zip(("height", "width"), SIZE, strict=True))
        pixels = theirs(image, boxes=[given.tolist()], size=size, return_tensors="pt")
        normalised = ours.look.normalised(torch.from_numpy(crops).permute(0, 3, 1, 2) / 255)
        off = (normalised - pixels["pixel_values"].float()).abs()
        assert float(off.mean()) < 0.02 and float(off.quantile(0.99)) < 0.08
        maps, _ = TestHeatmaps().maps()
        for person in range(2):
            found = read_heatmaps(maps[person : person + 1], windows[person : person + 1])
            window = windows[person]
            middle, sides = (window[:2] + window[2:]) / 2, window[2:] - window[:2]
            joints, confidences = theirs.keypoints_from_heatmaps(
                maps[person : person + 1], middle[None], sides[None] / 200
            )
            assert np.abs(found[..., :2] - joints).max() < 0.01
            assert np.allclose(found[..., 2], confidences[..., 0])

    def test_each_number_of_keypoints_has_its_expert(
        self, eye_folder: Path, tmp_path: Path
    ) -> None:
        """ViTPose++ was trained on several datasets, each with an expert for its keypoints."""
        for joints, expert, known in ((17, 0, 17), (133, 5, 23)):
            folder = write_pose(tmp_path / str(joints), joints, experts=6)
            network = VitPose(find_networks([folder, eye_folder / "detector"])[1], CPU)
            asked: list[int] = []
            network._module.register_forward_pre_hook(
                lambda _, __, given, asked=asked: asked.extend(given["dataset_index"].tolist()),
                with_kwargs=True,
            )
            assert network.heatmaps(np.zeros((2, *SIZE, 3), np.uint8)).shape[:2] == (2, known)
            assert asked == [expert] * 2


class TestDoor:
    def test_from_folders_to_a_result(
        self, eye_folder: Path, weights: Path, tmp_path: Path, capsys
    ) -> None:
        clip = make_clip(tmp_path / "walk.mp4")
        words = ("--detector", "vitpose", "--detector-weights", eye_folder, "--weights", weights)
        out = ("-o", tmp_path / "out", "--no-render", "--no-refine", "--keep-work")
        assert leave(*words, clip, *out) == 0
        summary = json.loads((tmp_path / "out" / "walk" / "result.json").read_text())
        assert summary["detector"].startswith("RT-DETR and ViTPose of transformers ")
        networks = {str(each): each.sha256 for each in find_networks([eye_folder])}
        assert summary["detector_weights"] == networks
        assert list(networks) == ["RT-DETR detector", "ViTPose pose"]
        assert summary["people"], "the random network sees six people everywhere"
        motion = load_motion(tmp_path / "out" / "walk" / summary["people"][0]["file"])
        assert motion.skeleton is COCO23 and not motion.keypoints[:, 17:].any()
        (kept,) = (tmp_path / "out" / "walk" / "work").glob("detections-*")
        key = kept.read_text().splitlines()[0]
        assert all(digest in key for digest in networks.values()), "of other networks, begin anew"
        assert capsys.readouterr().err.count("\n") == 2, "nothing of what transformers says"

    def test_other_weights_give_another_provenance(
        self, eye_folder: Path, weights: Path, tmp_path: Path
    ) -> None:
        clip = make_clip(tmp_path / "walk.mp4", 1)
        other = tmp_path / "pose"
        shutil.copytree(eye_folder / "pose", other)
        change_weights(other, "conv.bias", 0.5)
        made = [
            prepare_job(
                clip, TrackSettings(weights=weights, detector="vitpose", detector_weights=given)
            ).provenance
            for given in (eye_folder, [eye_folder / "pose", str(eye_folder / "detector")])
        ]
        assert made[0] == made[1]
        changed = choose_eyes("vitpose", [eye_folder / "detector", other]).weights()
        assert changed["ViTPose pose"] != made[0].detector_weights["ViTPose pose"]
        assert changed["RT-DETR detector"] == made[0].detector_weights["RT-DETR detector"]

"""Bodies while the frames come: late by what is stated, never changed by what comes later."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_model import SMALL

from temporal_hmr.camera import Camera
from temporal_hmr.errors import InputError
from temporal_hmr.models.hmr import Hmr
from temporal_hmr.motion import BodyMotion, Person2D, Track
from temporal_hmr.online import OnlinePeople, OnlineRecovery, OnlineSettings
from temporal_hmr.recover import recover
from temporal_hmr.rotation import geodesic_angle
from temporal_hmr.skeleton import COCO17, COCO23

CAMERA = Camera.with_assumed_focal(640, 480)
WINDOW = SMALL.window


@pytest.fixture(scope="module")
def model() -> Hmr:
    torch.manual_seed(0)
    model = Hmr(SMALL).eval()
    # Not the identity through time that training begins with: windows must differ.
    for parameter in model.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    return model


def somebody(frame: int, moving: float = 1.0, x: float = 0.0) -> Person2D:
    points = np.random.default_rng(0).uniform(100, 300, (23, 2))
    swing = np.random.default_rng(1).normal(0, 15, (23, 2))
    points = points + moving * np.sin(frame / 5) * swing + [x, 0]
    keypoints = np.concatenate([points, np.full((23, 1), 0.9)], 1)
    box = np.concatenate([points.min(0), points.max(0)])
    return Person2D(box, keypoints, COCO23, 0.9)


def pushed(
    online: OnlineRecovery | OnlinePeople, people: list[Person2D | None], fps: float = 30.0
) -> list[BodyMotion]:
    found: list[BodyMotion] = []
    for frame, person in enumerate(people):
        if isinstance(online, OnlinePeople):
            found += online.push(frame, frame / fps, [] if person is None else [person])
        else:
            found += online.push(frame, frame / fps, person)
    return found


def same(first: BodyMotion, second: BodyMotion) -> bool:
    return np.array_equal(first.joints, second.joints) and bool(first.frames == second.frames)


@pytest.mark.parametrize("delay", [0, 3, 6])
def test_every_frame_is_given_once_and_as_late_as_stated(model, body, delay) -> None:
    online = OnlineRecovery(model, body, CAMERA, OnlineSettings(delay))
    for frame in range(20):
        found = online.push(frame, frame / 30, somebody(frame))
        assert [each.frames.tolist() for each in found] == ([[frame - delay]] * (frame >= delay))
    assert online.latency.frames == delay and online.latency.computed > 0
    assert online.latency.waited == pytest.approx(delay / 30)
    assert [int(each.frames[0]) for each in online.finish()] == list(range(20 - delay, 20))
    assert online.finish() == []


@pytest.mark.parametrize("delay", [0, 4])
def test_the_future_changes_nothing(model, body, delay) -> None:
    """Frames up to the newest count and no later one does."""
    settings = OnlineSettings(delay)
    people = [somebody(frame) for frame in range(20)]
    others = people[:12] + [somebody(7 * frame, 3.0, 50.0) for frame in range(8)]
    one = pushed(OnlineRecovery(model, body, CAMERA, settings), people)
    other = pushed(OnlineRecovery(model, body, CAMERA, settings), others)
    known = 12 - delay
    assert all(same(*pair) for pair in zip(one[:known], other[:known], strict=True))
    assert not same(one[known], other[known])


def test_a_still_person_is_as_offline(model, body) -> None:
    still = [somebody(0, 0.0)] * 24
    keypoints = np.stack([each.keypoints for each in still]).astype(np.float32)
    boxes = np.stack([each.box for each in still])
    track = Track(0, np.arange(24), np.arange(24) / 30, boxes, keypoints, COCO23)
    offline = recover(model, body, track, CAMERA, 30.0, fit=None)
    online = OnlineRecovery(model, body, CAMERA, OnlineSettings(WINDOW - 2, fade=0.0))
    found = pushed(online, list(still))[-1]
    # Offline is the mean over the frames' places in a window, which differ a little.
    angle = geodesic_angle(found.smpl.rotations()[0], offline.smpl.rotations()[12])
    spread = geodesic_angle(offline.smpl.rotations()[:1], offline.smpl.rotations()).amax()
    assert angle.max() < max(0.02, 1.5 * float(spread))
    torch.testing.assert_close(found.smpl.betas[0], offline.smpl.betas[0], atol=0.05, rtol=0)
    apart = np.linalg.norm(found.joints[0] - offline.joints[12], axis=-1)
    assert apart.max() < 0.02 * offline.joints[12, 0, 2]


def test_a_whole_clip_is_the_models_own_answer(model, body) -> None:
    """A window's worth of frames, and nothing carried on: exactly what `recover` says of it."""
    people = [somebody(frame) for frame in range(WINDOW)]
    keypoints = np.stack([each.keypoints for each in people]).astype(np.float32)
    boxes = np.stack([each.box for each in people])
    track = Track(0, np.arange(WINDOW), np.arange(WINDOW) / 30, boxes, keypoints, COCO23)
    offline = recover(model, body, track, CAMERA, 30.0, fit=None)
    online = OnlineRecovery(model, body, CAMERA, OnlineSettings(0, fade=0.0))
    last = pushed(online, list(people))[-1]
    torch.testing.assert_close(
        last.smpl.rotations()[0], offline.smpl.rotations()[-1], atol=1e-4, rtol=0
    )


def test_what_windows_differ_by_fades_in(model, body) -> None:
    """Windows that say the same of a still person, a decimetre to the left and right in turn."""
    answered, sides = model.forward, iter([0.1, -0.1] * 50)

    def in_turn(window, *rest):
        found = answered(window, *rest)
        still = found.smpl.map(lambda tensor: tensor[:, :1].expand_as(tensor))
        transl = torch.zeros_like(still.transl) + torch.tensor([next(sides), 0.0, 4.0])
        return replace(found, smpl=replace(still, transl=transl, betas=0 * still.betas))

    people: list[Person2D | None] = [somebody(0, 0.0)] * 24
    model.forward = in_turn
    try:
        plain = pushed(OnlineRecovery(model, body, CAMERA, OnlineSettings(fade=0.0)), people)
        faded = pushed(OnlineRecovery(model, body, CAMERA, OnlineSettings(fade=0.1)), people)
    finally:
        del model.forward
    kept = np.exp(-1 / 3)
    for found, swing in ((plain, 0.1), (faded, 0.1 * (1 - kept) / (1 + kept))):
        steps = np.diff([float(each.smpl.transl[0, 0]) for each in found])[-6:]
        assert np.abs(steps) == pytest.approx(np.full(6, 2 * swing), rel=0.02)


def test_gaps_are_filled_and_marked_until_patience_ends(model, body) -> None:
    people = [somebody(frame) if frame < 10 or 16 <= frame < 20 else None for frame in range(40)]
    online = OnlineRecovery(model, body, CAMERA, OnlineSettings(2, patience=0.5))
    found = pushed(online, people)
    observed = {int(each.frames[0]): bool(each.observed[0]) for each in found}
    assert [frame for frame, seen in observed.items() if seen] == [*range(10), *range(16, 20)]
    assert all(not observed[frame] for frame in range(10, 16))
    assert max(observed) < 20 + 15 and np.isfinite(np.stack([each.joints for each in found])).all()
    assert online.push(40, 40 / 30, None) == [] and online.finish() == []
    hidden = [each for each in found if 10 <= each.frames[0] < 16]
    assert hidden[-1].confidence[0] < found[9].confidence[0]


def test_nothing_is_made_of_a_single_keypoint(model, body) -> None:
    """It gave a body a kilometre away, from which the later ones came back for a second."""

    def glimpsed(frame: int) -> Person2D:
        person = somebody(frame)
        return replace(person, keypoints=person.keypoints * (np.arange(23) == 5)[:, None])

    online = OnlineRecovery(model, body, CAMERA)
    assert pushed(online, [glimpsed(frame) for frame in range(4)]) == []
    found = [online.push(4 + n, (4 + n) / 30, somebody(4 + n)) for n in range(6)]
    first = next(each for each in found if each)[0]
    assert 0.2 < first.joints[0, 0, 2] < 50
    lost = online.push(10, 10 / 30, glimpsed(10))
    for frame in range(11, 22):
        lost = online.push(frame, frame / 30, glimpsed(frame))
    assert abs(lost[0].joints[0, 0, 2] - found[-1][0].joints[0, 0, 2]) < 2


@pytest.mark.parametrize("jump", [5.0, -0.5])
def test_a_jump_in_time_begins_anew(model, body, jump) -> None:
    online = OnlineRecovery(model, body, CAMERA, OnlineSettings(2))
    pushed(online, [somebody(frame) for frame in range(12)])
    owed = online.push(12, 11 / 30 + jump, somebody(40, x=80.0))
    assert [int(each.frames[0]) for each in owed] == [10, 11]
    after = [online.push(12 + n, 11 / 30 + jump + n / 30, somebody(40 + n)) for n in (1, 2)]
    fresh = OnlineRecovery(model, body, CAMERA, OnlineSettings(2))
    for n in range(3):
        person = somebody(40, x=80.0) if n == 0 else somebody(40 + n)
        expected = fresh.push(12 + n, 11 / 30 + jump + n / 30, person)
    assert same(after[-1][0], expected[0])


def test_memory_is_flat(model, body) -> None:
    """What is kept while people come and go."""

    def kept(people: OnlinePeople) -> int:
        seen = [(each._moments, each._computing, each._given) for each in people._people.values()]
        return len(pickle.dumps((seen, people._tracker, people._since)))

    still = model.forward
    answer = []

    def remembered(*arguments):
        # What the model says does not matter here, and takes most of the time.
        answer[:] = answer or [still(*arguments)]
        return answer[0]

    online = OnlinePeople(model, body, CAMERA, OnlineSettings(1))
    sizes = []
    model.forward = remembered
    try:
        for frame in range(240):
            away = frame % 80 > 30
            online.push(frame, frame / 30, [] if away else [somebody(frame, 0.1)])
            if frame % 80 == 25:
                sizes.append(kept(online))
    finally:
        del model.forward
    assert len(sizes) == 3 and max(sizes[1:]) <= 1.02 * sizes[0] + 100
    assert len(online._people) <= 1 and online._met == 3


def test_two_people_keep_their_numbers(model, body) -> None:
    online = OnlinePeople(model, body, CAMERA)
    found: list[BodyMotion] = []
    for frame in range(20):
        two = [somebody(frame), somebody(frame, x=320.0)]
        found = online.push(frame, frame / 30, two if frame % 2 else two[::-1])
    boxes = {each.person_id: each.boxes[0, 0] for each in found}
    assert sorted(boxes) == [0, 1] and abs(boxes[0] - boxes[1]) > 200


def test_fast_cameras_are_shown_at_the_rate_of_training(model, body) -> None:
    """At 120 frames a second every fourth, ending with the newest."""
    lengths = []
    still = model.forward

    def watching(window, *rest):
        lengths.append(window.times[0][window.valid[0]].diff().median().item())
        return still(window, *rest)

    model.forward = watching
    try:
        online = OnlineRecovery(model, body, CAMERA)
        found = pushed(online, [somebody(frame // 4) for frame in range(24)], fps=120.0)
    finally:
        del model.forward
    assert [int(each.frames[0]) for each in found] == list(range(24))
    assert lengths[-1] == pytest.approx(1 / 30, abs=1e-4)


class TestRefusals:
    def test_a_delay_without_room(self, model, body) -> None:
        for delay in (-1, WINDOW - 1):
            with pytest.raises(
                InputError, match=rf"the delay takes 0 to 6 frames here, not {delay}"
            ):
                OnlineRecovery(model, body, CAMERA, OnlineSettings(delay))

    def test_keypoints_that_are_none(self, model, body) -> None:
        online = OnlineRecovery(model, body, CAMERA)
        person = somebody(0)
        wrong = {
            "COCO": replace(person, skeleton=COCO17, keypoints=person.keypoints[:17]),
            "not of shape": replace(person, keypoints=person.keypoints[:5]),
            "must be numbers": replace(person, keypoints=np.full((23, 3), np.nan)),
        }
        for words, one in wrong.items():
            with pytest.raises(InputError, match=words):
                online.push(0, 0.0, one)

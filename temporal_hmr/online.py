"""Bodies while the frames still come: each given once, a fixed number of frames late, and final.

`recover` has seen the whole clip before it says anything. Here every new frame ends the window that
the model looks at, and what is given is the body of the frame `delay` frames before it: nothing
that comes later changes it. How late that is: the time between those two frames, and what one
window takes to compute (`OnlineRecovery.latency`).

Successive frames are read from successive windows, which differ by a little in all they say. A body
is therefore carried on from the one given before: moved as the newest window says that it moved,
while what the windows differ by fades in (as a complementary filter joins drift-free and smooth
readings). Time for each frame and memory do not grow.
"""

import copy
import math
import time as clock
from collections import deque
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from threadpoolctl import ThreadpoolController
from torch import Tensor

from temporal_hmr.body.model import BodyModel
from temporal_hmr.body.params import SmplParams
from temporal_hmr.camera import Camera
from temporal_hmr.clip_windows import TRAINED_FPS, FilledTrack, windows
from temporal_hmr.confidence import Seen, joint_confidence, seconds_away
from temporal_hmr.crops import readable
from temporal_hmr.errors import InputError
from temporal_hmr.models.hmr import Hmr, PosedBody
from temporal_hmr.models.hmr_config import HmrConfig
from temporal_hmr.motion import BodyMotion, Person2D
from temporal_hmr.people.tracker import Tracker, TrackerSettings
from temporal_hmr.recover import body_of, on_body
from temporal_hmr.rotation import interpolate
from temporal_hmr.skeleton import BLAZEPOSE23, COCO23, Skeleton

MOST_STEPS = 8
"""Frames that come faster than this many for each one of training are looked at no closer."""


@dataclass(frozen=True)
class OnlineSettings:
    """How late bodies are, and how quickly they follow what the model says anew."""

    delay: int = 0
    """Frames after a frame that are seen before its body is given; 0 looks back only."""
    fade: float = 0.1
    """Seconds in which all but a third of a difference between windows is taken over."""
    patience: float = TrackerSettings.patience
    """Seconds for which somebody unseen is filled in; then, as after a longer jump in time,
    everything begins anew."""
    shape_frames: float = 900.0
    """The shape is the mean of so many of the last windows, as far as they are full."""


@dataclass(frozen=True)
class Latency:
    """How late the last bodies were."""

    frames: int
    """Of delay."""
    waited: float
    """Seconds from the frame of the body last given to the newest frame; NaN before the first."""
    computed: float
    """Seconds that a frame takes, median of the last hundred; NaN before the first."""


@dataclass(frozen=True, eq=False)
class _Moment:
    """One frame as it came."""

    frame: int
    time: float
    box: Float[ndarray, "4"]
    keypoints: Float[ndarray, "J 3"]
    observed: bool


@dataclass(frozen=True, eq=False)
class _Pose:
    """Rotations and pelvis (m) at a time (s)."""

    rotations: Float[Tensor, "24 3 3"]
    pelvis: Float[Tensor, "3"]
    time: float


@dataclass(frozen=True, eq=False)
class _Known:
    """What recoveries of several people share."""

    model: Hmr
    body: BodyModel
    trained: BodyModel
    posed: PosedBody
    camera: Camera
    threads: ThreadpoolController
    """Of the libraries that compute: looking for them takes longer than setting their number."""


class OnlineRecovery:
    """One person, frame by frame."""

    def __init__(
        self,
        model: Hmr,
        body: BodyModel,
        camera: Camera,
        settings: OnlineSettings = OnlineSettings(),
        person_id: int = 0,
    ) -> None:
        """Raises `InputError` for a model that looks at images, a body it cannot be used with, and
        a delay that its window has no room for.
        """
        check_delay(model.config, settings)
        trained = body_of(model, body)
        device = next(model.parameters()).device
        posed = PosedBody(copy.deepcopy(trained)).to(device)
        known = _Known(model, body, trained, posed, camera, ThreadpoolController())
        self._begin(known, settings, person_id)

    def _begin(self, known: _Known, settings: OnlineSettings, person_id: int) -> None:
        self._known, self._settings, self._person_id = known, settings, person_id
        self._moments: deque[_Moment] = deque(maxlen=MOST_STEPS * known.model.config.window)
        self._computing: deque[float] = deque(maxlen=100)
        self._skeleton: Skeleton = COCO23
        self._owed = 0
        self._last_seen = -math.inf
        self._given: _Pose | None = None
        self._betas = torch.zeros(10)
        self._betas_weight = 0.0

    def for_person(self, person_id: int) -> "OnlineRecovery":
        """The same for somebody else; what does not change is shared."""
        other = OnlineRecovery.__new__(OnlineRecovery)
        other._begin(self._known, self._settings, person_id)
        return other

    def push(self, index: int, time: float, person: Person2D | None) -> list[BodyMotion]:
        """Take in frame number `index` at `time` seconds; None says that the person went unseen.

        Returns what has become final, a motion of one frame each: nothing for the first `delay`
        frames, then one for each frame, and after a jump in time what was still owed before it.
        Nothing is given of a person of whom too little has been seen to read a body from
        (`crops.readable`).
        Raises `InputError` for keypoints that the model does not look at, or that are no numbers.
        """
        begun = clock.perf_counter()
        if person is not None:
            _check(index, person)
        bodies = []
        jumped = bool(self._moments) and not self._moments[-1].time < time
        if jumped or time - self._last_seen > self._settings.patience:
            bodies = self.finish()
        if person is None and not self._moments:
            return bodies
        self._add(index, time, person)
        if self._owed > self._settings.delay:
            bodies += self._next()
            self._computing.append(clock.perf_counter() - begun)
        return bodies

    def finish(self) -> list[BodyMotion]:
        """The bodies still owed, up to the last frame in which the person was seen.

        What comes after begins anew.
        """
        bodies = []
        while self._owed and self._moments[-self._owed].time <= self._last_seen:
            bodies += self._next()
        self._begin(self._known, self._settings, self._person_id)
        return bodies

    @property
    def latency(self) -> Latency:
        """How late bodies are now."""
        waited = math.nan
        if self._given is not None:
            waited = self._moments[-1].time - self._given.time
        computed = float(np.median(self._computing)) if self._computing else math.nan
        return Latency(self._settings.delay, waited, computed)

    def _add(self, index: int, time: float, person: Person2D | None) -> None:
        if person is None:
            unseen = np.zeros_like(self._moments[-1].keypoints)
            moment = _Moment(index, time, self._moments[-1].box, unseen, False)
        else:
            self._last_seen, self._skeleton = time, person.skeleton
            keypoints = np.array(person.keypoints, np.float32)
            moment = _Moment(index, time, np.array(person.box, np.float32), keypoints, True)
        self._moments.append(moment)
        self._owed += 1

    def _next(self) -> list[BodyMotion]:
        """The body of the first frame that is owed, none where too little has been seen so far."""
        target = len(self._moments) - self._owed
        self._owed -= 1
        shown = self._shown(target)
        seen = _filled([self._moments[place] for place in shown])
        pose = self._pose(seen, shown.index(target))
        if pose is None:
            return []
        self._given = pose
        return [self._motion(pose, target)]

    def _shown(self, target: int) -> range:
        """Which moments the model sees: the last window at about the rate of its training."""
        times = [moment.time for moment in self._moments]
        rate = 1 / float(np.median(np.diff(times))) if len(times) > 1 else TRAINED_FPS
        step = min(max(round(rate / TRAINED_FPS), 1), MOST_STEPS)
        length = self._known.model.config.window
        after = (len(times) - 1 - target) // step
        before = min(target // step, length - 1 - after)
        return range(target - before * step, target + after * step + 1, step)

    def _pose(self, seen: FilledTrack, place: int) -> _Pose | None:
        """The body of one of the frames that are shown, carried on from the one given before."""
        known = self._known
        device = next(known.model.parameters()).device
        ((_, window),) = windows(seen, known.model.config.window, known.camera)
        scores = window.scores[:, : len(seen)]
        if not readable(scores).item():
            # A body read from next to nothing may be a kilometre away: the last one stays.
            return self._given and replace(self._given, time=float(seen.times[place]))
        # One frame is small work: threads would wait for each other most of the time.
        with torch.inference_mode(), known.threads.limit(limits=1):
            window = window.map(lambda tensor: tensor.to(device))
            smpl = known.model(window, known.posed).smpl
            pelvis = (smpl.transl + known.posed.pelvis_at_rest(smpl.betas))[0].cpu()
        self._learn_shape(smpl.betas[0, place].cpu(), len(seen) / window.valid.shape[1])
        rotations = smpl.rotations()[0].cpu()
        before, now = (
            _Pose(rotations[at], pelvis[at], float(seen.times[at]))
            for at in (max(place - 1, 0), place)
        )
        if self._given is None or not place:
            return now
        return _carried_on(self._given, before, now, self._settings.fade)

    def _learn_shape(self, betas: Float[Tensor, "10"], weight: float) -> None:
        self._betas_weight = min(self._betas_weight + weight, self._settings.shape_frames)
        self._betas = torch.lerp(self._betas, betas, weight / self._betas_weight)

    def _motion(self, pose: _Pose, target: int) -> BodyMotion:
        known, moment = self._known, self._moments[target]
        times = np.array([each.time for each in self._moments])
        observed = np.array([each.observed for each in self._moments])
        betas = self._betas[None]
        smpl = SmplParams.from_rotations(
            pose.rotations[None],
            betas,
            pose.pelvis[None] - known.trained.rest_joints(betas)[:, 0],
        )
        points = known.posed.points_of(self._skeleton)
        regressed = known.posed.body.regress(smpl.map(lambda t: t.to(points.shares)), points)
        likely = joint_confidence(
            Seen(
                keypoints=moment.keypoints[None],
                projected=known.camera.project(regressed.cpu()).numpy(),
                joints=known.trained.joints(smpl).numpy(),
                boxes=moment.box[None],
                away=seconds_away(times, observed)[target : target + 1],
            )
        )
        smpl = on_body(smpl, known.trained, known.body)
        return BodyMotion(
            person_id=self._person_id,
            frames=np.array([moment.frame]),
            times=times[target : target + 1],
            fps=1 / float(np.median(np.diff(times))) if len(times) > 1 else TRAINED_FPS,
            smpl=smpl,
            joints=known.body.joints(smpl).float().numpy(),
            camera=known.camera,
            boxes=moment.box[None],
            keypoints=moment.keypoints[None],
            skeleton=self._skeleton,
            observed=observed[target : target + 1],
            confidence=likely.mean(-1),
            joint_confidence=likely,
        )


class OnlinePeople:
    """Everybody before a camera, frame by frame, for as long as it runs."""

    def __init__(
        self,
        model: Hmr,
        body: BodyModel,
        camera: Camera,
        settings: OnlineSettings = OnlineSettings(),
    ) -> None:
        """Raises `InputError` as `OnlineRecovery` does."""
        self._anybody = OnlineRecovery(model, body, camera, settings)
        self._patience = settings.patience
        self._tracker = Tracker(TrackerSettings(patience=settings.patience))
        self._last = -math.inf
        self._people: dict[object, OnlineRecovery] = {}
        self._since: dict[object, float] = {}
        self._met = 0

    def push(self, index: int, time: float, people: list[Person2D]) -> list[BodyMotion]:
        """Take in the people of a frame; returns what has become final, as `OnlineRecovery.push`.

        Numbers count people in the order in which they came. Whoever has not yet been seen for
        `TrackerSettings.least_seen` seconds is not given: there are ghosts among them.
        """
        bodies = []
        if not 0 < time - self._last <= self._patience:
            bodies = self.finish()
        self._last = time
        self._tracker.add(index, time, people)
        self._tracker.forget_past()
        now = dict(self._tracker.now())
        for key in [key for key in self._people if key not in now]:
            bodies += self._people.pop(key).finish()
            del self._since[key]
        for key, person in now.items():
            if key not in self._people:
                self._people[key] = self._anybody.for_person(self._met)
                self._since[key] = time
                self._met += 1
            found = self._people[key].push(index, time, person)
            if time - self._since[key] >= TrackerSettings.least_seen:
                bodies += found
        return bodies

    def finish(self) -> list[BodyMotion]:
        """All bodies still owed; whoever comes after is somebody else."""
        bodies = [body for each in self._people.values() for body in each.finish()]
        self._people, self._since = {}, {}
        self._tracker = Tracker(TrackerSettings(patience=self._patience))
        return bodies


def check_delay(config: HmrConfig, settings: OnlineSettings) -> None:
    """Raise `InputError` for a model that looks at images, or a delay that it has no room for."""
    if config.image_side() is not None:
        raise InputError("these weights look at images: frame by frame, only keypoints serve")
    # The frame before the one that is given is in the window too.
    most = max(config.window - 2, 0)
    if not 0 <= settings.delay <= most:
        raise InputError(f"the delay takes 0 to {most} frames here, not {settings.delay}")


def _check(index: int, person: Person2D) -> None:
    if person.skeleton not in (COCO23, BLAZEPOSE23):
        raise InputError(
            f"the model looks at {COCO23.name} keypoints, frame {index} has {person.skeleton.name}"
        )
    if person.keypoints.shape != (len(person.skeleton), 3):
        raise InputError(
            f"frame {index}: keypoints are {len(person.skeleton)} times x, y, confidence, not of "
            f"shape {person.keypoints.shape}"
        )
    if not (np.isfinite(person.keypoints).all() and np.isfinite(person.box).all()):
        raise InputError(f"frame {index}: keypoints and box must be numbers; unknown ones have 0")


def _filled(moments: list[_Moment]) -> FilledTrack:
    return FilledTrack(
        frames=np.array([each.frame for each in moments]),
        times=np.array([each.time for each in moments]),
        boxes=np.stack([each.box for each in moments]),
        keypoints=np.stack([each.keypoints for each in moments]),
        observed=np.array([each.observed for each in moments]),
    )


def _carried_on(given: _Pose, before: _Pose, now: _Pose, fade: float) -> _Pose:
    """What was given, moved as one window says; `before` and `now` are of that window."""
    elapsed = now.time - given.time
    share = math.exp(-elapsed / fade) if fade > 0 else 0.0
    # Where frames come faster than the model is shown them, the last one given lies in between.
    passed = torch.tensor(min(max((given.time - before.time) / (now.time - before.time), 0.0), 1.0))
    then = interpolate(before.rotations, now.rotations, passed.expand(24))
    apart = given.pelvis - torch.lerp(before.pelvis, now.pelvis, passed)
    turned = then.mT @ given.rotations
    kept = interpolate(torch.eye(3).expand_as(turned), turned, torch.full((24,), share))
    return _Pose(now.rotations @ kept, now.pelvis + share * apart, now.time)

"""Which parts the model has is a setting: what each means, and what does not fit together."""

from importlib.resources import files
from pathlib import Path

import pytest
import torch
from tiny_model import SMALL

from temporal_hmr.checkpoint import read_config
from temporal_hmr.configuration import load_config, parse_config
from temporal_hmr.errors import InputError
from temporal_hmr.models.backbones_vit import VitConfig, VitEncoder
from temporal_hmr.models.encoder import FrameEncoder, FrameEncoderConfig
from temporal_hmr.models.heads import RotationHead, RotationHeadConfig
from temporal_hmr.models.hmr import Hmr
from temporal_hmr.models.hmr_config import INT, TOKENHMR, HmrConfig
from temporal_hmr.models.image_pose_encoder import ImagePoseEncoder, ImagePoseEncoderConfig
from temporal_hmr.models.int_encoder import IntEncoder, IntEncoderConfig
from temporal_hmr.models.int_heads import IntHeads, IntHeadsConfig
from temporal_hmr.models.joint_motion import JointMotion, JointMotionConfig
from temporal_hmr.models.token_head import (
    BodyTokenHead,
    BodyTokenHeadConfig,
    TokenHead,
    TokenHeadConfig,
)
from temporal_hmr.models.token_motion import TokenMotion, TokenMotionConfig

TWO_LAYERS = SMALL.model_copy(update={"motion": JointMotionConfig(heads=2, layers=2)})


def settings(**parts: object) -> HmrConfig:
    return parse_config(parts, HmrConfig, "run.yaml")


def test_parts_that_are_not_named_are_those_of_the_first_checkpoints() -> None:
    """Which were written before there was a choice."""
    old = settings(encoder={"width": 32}, motion={"heads": 2}, head={}, window=24)
    assert old.encoder == FrameEncoderConfig(width=32)
    assert old.motion == JointMotionConfig(heads=2)
    assert old.head == RotationHeadConfig()
    assert old.one_shape
    shipped = Path(str(files("temporal_hmr") / "assets" / "default.safetensors"))
    config = read_config(shipped, "hmr", HmrConfig)
    assert isinstance(config.encoder, FrameEncoderConfig)
    assert isinstance(config.motion, JointMotionConfig)
    assert isinstance(config.head, RotationHeadConfig)


@pytest.mark.parametrize("config", [TWO_LAYERS, INT, TOKENHMR])
def test_settings_survive_being_written(config: HmrConfig) -> None:
    assert parse_config(config.model_dump(mode="json"), HmrConfig, "x") == config


IMAGE_POSE = {"kind": "postometro", "pose": {"tokens": 24, "code_dim": 64, "joints": 23}}


@pytest.mark.parametrize(
    ("part", "chosen", "meant", "built"),
    [
        ("encoder", {"kind": "keypoints"}, FrameEncoderConfig, FrameEncoder),
        ("encoder", IMAGE_POSE, ImagePoseEncoderConfig, ImagePoseEncoder),
        ("encoder", {"kind": "int"}, IntEncoderConfig, IntEncoder),
        ("encoder", {"kind": "vit"}, VitConfig, VitEncoder),
        ("motion", {"positions": "rotary"}, JointMotionConfig, JointMotion),
        ("motion", {"positions": "learned", "heads": 4}, TokenMotionConfig, TokenMotion),
        ("head", {"kind": "rotations"}, RotationHeadConfig, RotationHead),
        ("head", {"kind": "tokens"}, BodyTokenHeadConfig, BodyTokenHead),
        ("head", {"kind": "int"}, IntHeadsConfig, IntHeads),
        ("head", {"kind": "tokenhmr"}, TokenHeadConfig, TokenHead),
    ],
)
def test_a_part_is_the_one_that_is_named(
    part: str, chosen: dict[str, object], meant: type, built: type
) -> None:
    bare = chosen["kind"] == "tokenhmr" if part == "head" else chosen.get("kind") == "int"
    without = {"decoder": None} if bare else {}
    config = settings(**({"motion": None} | without | {part: chosen}))
    assert isinstance(getattr(config, part), meant)
    with torch.device("meta"):
        model = Hmr(config)
    assert isinstance(getattr(model, part), built)


def test_models_say_which_crops_they_look_at() -> None:
    assert TWO_LAYERS.image_side() is None
    assert (INT.image_side(), TOKENHMR.image_side()) == (224, 256)
    assert settings(encoder=IMAGE_POSE | {"side": 192}).image_side() == 192
    assert settings(encoder=IMAGE_POSE | {"sees": "pose"}).image_side() is None
    tokens = {"tokens": 34, "code_dim": 512}
    read_off = {"sees": "pose", "classifier": {}, "pose": tokens}
    assert settings(encoder=IMAGE_POSE | read_off).image_side() == 256


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"encoder": {"kind": "int"}}, "decoder between encoder int and .*decoder: null"),
        ({"decoder": None}, "decoder between encoder keypoints and .*give it settings"),
        (
            {"head": {"kind": "tokenhmr"}, "motion": None},
            "decoder between encoder keypoints and head tokenhmr: .*decoder: null",
        ),
        (
            {"head": {"kind": "tokenhmr"}, "decoder": None, "encoder": {"kind": "int"}},
            "head tokenhmr reads image tokens, which encoder int",
        ),
        ({"head": {"kind": "tokenhmr"}, "decoder": None}, "motion must be null"),
        ({"encoder": {"kind": "postometro"}}, r"pose\.tokens and pose\.code_dim are \(34, 512\)"),
        (
            {"encoder": IMAGE_POSE | {"classifier": {}}},
            r"pose\.tokens and pose\.code_dim are \(24, 64\), but the tokenizer makes \(34, 512\)",
        ),
        (
            {"encoder": {"kind": "postometro", "pose": {"reads": "coordinates"}}},
            r"pose\.joints is 17, but there are 23",
        ),
        ({"encoder": IMAGE_POSE | {"classifier": {}, "sees": "image"}}, "encoder: .*classifier"),
        (
            {"encoder": IMAGE_POSE | {"classifier": {}, "pose": {"reads": "coordinates"}}},
            "encoder: .*classifier makes pose tokens",
        ),
        (
            {"encoder": IMAGE_POSE | {"sees": "pose", "decoder": {"pose_twice": True}}},
            r"encoder: .*decoder\.pose_twice",
        ),
        ({"body": "smplx"}, "body: "),
        ({"window": 0}, "window: "),
        ({"context": {"width": 36, "heads": 4}}, "context: a width of 36 .* a multiple of 8"),
        ({"encoder": {"width": 36}}, "a width of 36 cannot be shared by 4 .* even width"),
        ({"motion": {"layers": 0}}, r"motion\.layers: "),
        ({"motion": {"positions": "learned", "layers": 0}}, r"motion\.layers: "),
        ({"encoder": {"layers": -1}}, r"encoder\.layers: "),
        ({"decoder": {"layers": -1}}, r"decoder\.layers: "),
        ({"tokenizer": {"tokens": 0}}, r"tokenizer\.tokens: "),
        ({"window": 1}, "window: motion and context need 2 frames"),
        ({"tokenizer": {"guide_ratio": 0.5}}, "tokenizer.guide_ratio"),
        (
            {"encoder": {"kind": "int"}, "decoder": None}
            | {"head": {"kind": "int", "crop_side": 256}},
            "head.crop_side is 256, .* 224",
        ),
    ],
)
def test_parts_that_do_not_fit_are_named(parts: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        settings(**parts)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("encoder: {widht: 3}", "encoder.widht: is no setting (did you mean width?)"),
        (
            "encoder: {kind: int, transformer: {layer: 2}}",
            "encoder.transformer.layer: is no setting (did you mean layers?)",
        ),
        (
            "encoder: {kind: postometro, backbone: {kind: hrnet, widht: 3}}",
            "encoder.backbone.widht: is no setting (did you mean width?)",
        ),
        ("motion: {positons: learned}", "motion.positons: is no setting (did you mean positions?)"),
        (
            "head: {kind: tokens, classifier: {layer: 2}}",
            "head.classifier.layer: is no setting (did you mean layers?)",
        ),
        ("encodr: {}", "encodr: is no setting (did you mean encoder?)"),
        ("motion: {positions: learned, heads: 0}", "motion.heads: Input should be greater than 0"),
        ("encoder: {kind: itn}", "encoder: there is no 'itn': choose among 'keypoints', "),
    ],
)
def test_what_is_misspelt_in_a_part_is_named_where_it_stands(
    text: str, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        load_config(path, HmrConfig)
    assert str(caught.value).startswith(f"{path}: {said}")

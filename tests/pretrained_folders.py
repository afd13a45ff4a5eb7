"""Small networks of random weights in the folders that transformers writes."""

import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

SIZE = (64, 48)
"""Height and width of the crops."""


def write_detector(folder: Path, label: str = "person") -> Path:
    """An RT-DETR of six queries that is sure of a person at each of them."""
    from transformers import RTDetrConfig, RTDetrForObjectDetection, RTDetrResNetConfig

    sizes = {
        "embedding_size": 8,
        "hidden_sizes": [8, 8, 16, 16],
        "depths": [1, 1, 1, 1],
        "layer_type": "basic",
        "out_features": ["stage2", "stage3", "stage4"],
    }
    config = RTDetrConfig(
        backbone_config=RTDetrResNetConfig(**sizes),
        encoder_hidden_dim=16,
        encoder_in_channels=[8, 16, 16],
        encoder_ffn_dim=16,
        encoder_attention_heads=2,
        d_model=16,
        num_queries=6,
        decoder_in_channels=[16, 16, 16],
        decoder_ffn_dim=16,
        decoder_layers=1,
        decoder_attention_heads=2,
        id2label={0: "cup", 1: label},
        label2id={"cup": 0, label: 1},
    )
    torch.manual_seed(2)
    network = RTDetrForObjectDetection(config)
    judge = network.get_submodule("model.decoder.class_embed.0")
    with torch.no_grad():
        judge.get_parameter("weight").zero_()
        judge.get_parameter("bias").copy_(torch.tensor([-5.0, 3.0]))
    network.save_pretrained(folder)
    look = {"do_normalize": False, "size": {"height": 96, "width": 128}}
    (folder / "preprocessor_config.json").write_text(json.dumps(look))
    return folder


def write_pose(folder: Path, joints: int = 17, experts: int = 1) -> Path:
    """A ViTPose whose maxima lie anywhere, at a confidence of about 0.6."""
    from transformers import VitPoseBackboneConfig, VitPoseConfig, VitPoseForPoseEstimation

    sizes = {
        "image_size": SIZE,
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_experts": experts,
        "part_features": 8 if experts > 1 else 0,
        "out_indices": [2],
    }
    kind = {"backbone_config": VitPoseBackboneConfig(**sizes), "num_labels": joints}
    torch.manual_seed(3)
    network = VitPoseForPoseEstimation(VitPoseConfig(**kind))
    with torch.no_grad():
        network.get_parameter("head.conv.bias").fill_(0.6)
    network.save_pretrained(folder)
    return folder


def change_weights(folder: Path, name: str, value: float | None) -> None:
    """Fill the first parameter whose name ends so; or take it away."""
    weights = load_file(folder / "model.safetensors")
    chosen = next(each for each in sorted(weights) if each.endswith(name))
    tensor = weights.pop(chosen)
    if value is not None:
        weights[chosen] = torch.full_like(tensor, value)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})

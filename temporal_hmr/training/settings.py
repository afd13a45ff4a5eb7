"""How a lesson is trained: the settings of the loop."""

from typing import Any, Literal

from pydantic import Field, model_validator

from temporal_hmr.configuration import Config
from temporal_hmr.training.schedule import Cosine, Schedule


class LoopSettings(Config):
    """How long, how fast and how precisely to train."""

    steps: int = Field(gt=0)
    clips: int = Field(gt=0)
    """Clips in a batch, of all processes together."""
    accumulate: int = Field(default=1, gt=0)
    """Parts that a batch goes through the module in, one after the other, to need less memory."""
    optimizer: Literal["adamw", "muon"] = "adamw"
    """`muon` learns transformers from about half the samples; AdamW still moves what is no inner
    matrix."""
    learning_rate: float = Field(default=5e-4, gt=0)
    rates: dict[str, float] = Field(default_factory=dict)
    """Factors of the learning rate by the beginning of parameter names."""
    schedule: Schedule = Cosine()
    warmup: int = Field(default=300, gt=0)
    weight_decay: float = Field(default=0.01, ge=0)
    clip_norm: float = Field(default=1.0, gt=0)
    average: float = Field(default=0.998, ge=0, lt=1)
    """Decay of the moving average of the weights, which is what is kept in the end."""
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """Of products; bfloat16 pays where the hardware multiplies it, float16 needs CUDA."""
    compile: bool = False
    """Let `torch.compile` make the steps faster, after minutes at the start."""
    save_every: int = Field(default=250, gt=0)
    evaluate_every: int = Field(default=1000, gt=0)
    best_by: str | None = None
    """A figure of the evaluation: the weights at its best value are `best.safetensors`."""
    best_is: Literal["lowest", "highest"] = "lowest"
    tensorboard: bool = False
    looks: bool = True
    """Whether each evaluation of a model also draws a picture of what it makes of some windows."""
    seed: int = Field(default=0, ge=0, lt=2**32)

    @model_validator(mode="before")
    @classmethod
    def _older_name(cls, values: Any) -> Any:
        """`bfloat16: true` is how configurations said `precision: bfloat16`."""
        if not isinstance(values, dict) or "bfloat16" not in values:
            return values
        values = dict(values)
        older = values.pop("bfloat16")
        if "precision" in values or not isinstance(older, bool):
            raise ValueError("give precision: bfloat16 in place of bfloat16")
        return values | {"precision": "bfloat16" if older else "float32"}

    @model_validator(mode="after")
    def _fit_together(self) -> "LoopSettings":
        if self.clips % self.accumulate:
            raise ValueError(f"clips {self.clips} is no multiple of accumulate {self.accumulate}")
        if any(factor <= 0 for factor in self.rates.values()):
            raise ValueError("rates are factors above 0")
        return self

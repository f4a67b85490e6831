"""The challenge's settings: two presets of one problem, every field a knob."""

from __future__ import annotations

from typing import Any

import param

from explorer.base.declared import Declared, Log
from explorer.challenge.data import Dataset, draw


class Challenge(Declared):
    """One family of learning problems: noisy random-Fourier-feature regression by an MLP with batch norm.

    `Challenge()` is TIG's published description (`brief`); `Challenge.preset("tig")` is what TIG's public harness runs.
    Fields are checked on assignment; a combination that cannot run raises `ValueError` too.

    >>> Challenge.preset("tig", num_hidden_layers=7).frozen_layers
    2
    """

    num_hidden_layers = param.Integer(
        4, bounds=(1, 20), step=1, label="Hidden layers", doc="Hidden layers N, each Linear → ReLU → BatchNorm."
    )
    accuracy_factor = param.Number(
        0, bounds=(0, 4000), inclusive_bounds=(True, False), step=50, doc="Difficulty: α = 4 − accuracy factor / 1000."
    )

    input_dims = param.Integer(8, bounds=(1, 64), label="Input dims", doc="Inputs D, uniform on [−1, 1].")
    output_dims = param.Integer(
        1, bounds=(1, 16), label="Output dims", doc="Outputs O, each with random features of its own."
    )
    num_features = param.Integer(
        128, bounds=(1, 4096), label="Features K", doc="Random Fourier features K of each output."
    )
    lengthscale = Log(0.3, bounds=(0.01, 10), label="Lengthscale l", doc="Lengthscale l, in units of the inputs.")
    lengthscale_power = param.Selector(
        default=1, objects=[1, 2], doc="Frequencies ω ~ N(0, l^(−2·power) I): 1 as written, 2 in TIG's harness."
    )
    noise_std = Log(
        0.2,
        bounds=(0.001, 2),
        label="Noise σ",
        doc="Standard deviation σ of the targets' noise, in units of the targets.",
    )
    train_size = param.Integer(1000, bounds=(8, 4000), doc="Training samples.")
    val_size = param.Integer(200, bounds=(8, 4000), label="Validation size", doc="Validation samples.")
    test_size = param.Integer(250, bounds=(8, 4000), doc="Test samples.")

    width = param.Integer(256, bounds=(1, 1024), doc="Units of each hidden layer.")
    frozen_layers = param.Integer(
        0, bounds=(0, 20), doc="Last linear layers, and batch norms between them, left at their random start for ever."
    )
    restore_statistics = param.Boolean(
        False, doc="After a proposal, also put the batch norms' running statistics back (TIG's harness does)."
    )
    gradient_reduction = param.Selector(
        default="mean", objects=["mean", "sum"], doc="Gradient of the batch's mean or of its summed squared error."
    )

    batch_size = param.Integer(128, bounds=(2, 4000), doc="Samples a batch; the last one of an epoch may be smaller.")
    max_epochs = param.Integer(1000, bounds=(1, 10000), label="Epochs at most", doc="Epochs at most.")
    patience = param.Integer(50, bounds=(1, 10000), doc="Epochs without a better validation loss before stopping.")
    min_delta = param.Number(
        1e-7, bounds=(0, 1), label="Least improvement", doc="Improvement of the validation loss that counts."
    )
    quality_reference = param.Selector(
        default="threshold",
        objects=["threshold", "loosest"],
        doc="Quality is (reference − test MSE)/reference: the threshold, or the one at α = 4, clamped to ±10.",
    )

    def __init__(self, **values: Any) -> None:
        super().__init__(**values)
        self.validate()

    @classmethod
    def presets(cls) -> dict[str, dict[str, Any]]:
        """What each preset sets, by name."""
        return {"brief": {}, "tig": _TIG}

    @classmethod
    def preset(cls, name: str, **values: Any) -> Challenge:
        """The preset `name` with some fields changed; `ValueError` if there is no such preset."""
        try:
            preset = cls.presets()[name]
        except KeyError:
            known = ", ".join(cls.presets())
            raise ValueError(f"preset = {name!r} is not known: it must be one of {known}.") from None
        return cls(**(preset | values))

    def validate(self) -> None:
        """`ValueError` where fields that are fine alone cannot run together."""
        if self.frozen_layers > self.num_hidden_layers:
            raise ValueError(
                f"num_hidden_layers = {self.num_hidden_layers} is not allowed with frozen_layers = "
                f"{self.frozen_layers}, which would freeze everything: it must be an integer from "
                f"{self.frozen_layers} to {self.param.num_hidden_layers.bounds[1]}."
            )
        if self.train_size % self.batch_size == 1:
            raise ValueError(
                f"batch_size = {self.batch_size} is not allowed with train_size = {self.train_size}: "
                "the last batch would hold one sample, and batch norm needs two."
            )

    @property
    def alpha(self) -> float:
        """α of the threshold ε*² = (α / N_test) Σ (y − f)²."""
        return 4 - self.accuracy_factor / 1000

    def dataset(self, seed: int = 0) -> Dataset:
        """The instance of `seed`: the same numbers on every device."""
        return draw(self, seed)

    def batches(self) -> list[tuple[int, int]]:
        """Start and end of each batch in an epoch's order."""
        size = self.batch_size
        return [(start, min(start + size, self.train_size)) for start in range(0, self.train_size, size)]


_TIG = {
    "input_dims": 1,
    "output_dims": 2,
    "lengthscale_power": 2,
    "frozen_layers": 2,
    "restore_statistics": True,
    "gradient_reduction": "sum",
    "quality_reference": "loosest",
}

"""Sparse autoencoders of activations: the dictionary, its features, and the files that SAE Lens writes."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from susceptometer.errors import DataError

Activation = Literal["relu", "topk", "jumprelu"]
Scaling = Literal["none", "layer_norm", "constant_norm_rescale"]

WEIGHTS, CONFIG = "sae_weights.safetensors", "cfg.json"
NAMES = {"encoder": "W_enc", "encoder_bias": "b_enc", "decoder": "W_dec", "bias": "b_dec"}


@dataclass(frozen=True)
class SAE:
    r"""A dictionary of directions, of which each activation uses few (bricken2023; gao2024).

        f(x) = act( (s(x) - centred b_dec) W_enc + b_enc ),    x = f W_dec + b_dec (in the scaling s)

    Args:
        encoder: W_enc ``[d, features]``.
        encoder_bias: b_enc ``[features]``.
        decoder: W_dec ``[features, d]``.
        bias: b_dec ``[d]``.
        activation: ``relu``; ``topk``: the k largest, then relu; ``jumprelu``: values above ``threshold``.
        k: Of ``topk``.
        threshold: Of ``jumprelu`` ``[features]``.
        centred: Subtract b_dec before encoding.
        scaling: What is done to an activation first.
        by_norm: Rank features by their size times the norm of their direction (and give that product).
        meta: What else the file said: model, layer, tokens.
    """

    encoder: Tensor
    encoder_bias: Tensor
    decoder: Tensor
    bias: Tensor
    activation: Activation = "topk"
    k: int = 0
    threshold: Tensor | None = None
    centred: bool = True
    scaling: Scaling = "none"
    by_norm: bool = False
    meta: dict[str, object] = field(default_factory=dict)

    @property
    def features(self) -> int:
        """Number of features."""
        return len(self.encoder_bias)

    @torch.no_grad()
    def encode(self, x: Tensor) -> Tensor:
        """Features ``[..., features]`` of activations ``[..., d]``, nonnegative, mostly zero."""
        scaled, _, _ = self._scaled(x.float())
        before = (scaled - self.bias if self.centred else scaled) @ self.encoder + self.encoder_bias
        if self.by_norm:
            before = before * self.decoder.norm(dim=1)
        if self.activation == "relu":
            return before.relu()
        if self.activation == "jumprelu":
            assert self.threshold is not None
            return before.relu() * (before > self.threshold)
        best = before.topk(self.k, dim=-1)
        return torch.zeros_like(before).scatter_(-1, best.indices, best.values.relu())

    @torch.no_grad()
    def reconstruction(self, x: Tensor) -> Tensor:
        """What the features say ``x [..., d]`` was."""
        _, shift, scale = self._scaled(x.float())
        features = self.encode(x)
        if self.by_norm:
            features = features / self.decoder.norm(dim=1)
        return (features @ self.decoder + self.bias) * scale + shift

    def explained(self, x: Tensor) -> float:
        """1 - |x - reconstruction|^2 / |x - mean x|^2 over activations ``[n, d]``."""
        x = x.float()
        return float(1 - (x - self.reconstruction(x)).square().sum() / (x - x.mean(0)).square().sum())

    def _scaled(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Scaled activations, and the shift and scale that undo it."""
        one = x.new_ones(())
        if self.scaling == "layer_norm":
            shift, scale = x.mean(-1, keepdim=True), x.std(-1, keepdim=True) + 1e-5
            return (x - shift) / scale, shift, scale
        if self.scaling == "constant_norm_rescale":
            scale = x.norm(dim=-1, keepdim=True) / x.shape[-1] ** 0.5
            return x / scale, one * 0, scale
        return x, one * 0, one


def save_sae(sae: SAE, folder: str | Path) -> None:
    """Write ``cfg.json`` and float16 ``sae_weights.safetensors`` in the layout of SAE Lens."""
    path = Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    tensors = {name: getattr(sae, key).half().contiguous() for key, name in NAMES.items()}
    if sae.threshold is not None:
        tensors["threshold"] = sae.threshold.half()
    save_file(tensors, path / WEIGHTS)
    card = {
        "architecture": "standard" if sae.activation == "relu" else sae.activation,
        "d_in": len(sae.bias), "d_sae": sae.features, "dtype": "float16", "k": sae.k,
        "apply_b_dec_to_input": sae.centred, "normalize_activations": sae.scaling,
        "rescale_acts_by_decoder_norm": sae.by_norm, "metadata": sae.meta,
    }  # fmt: skip
    (path / CONFIG).write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")


def load_sae(folder: str | Path) -> SAE:
    """The autoencoder of a folder with ``cfg.json`` and safetensors, as SAE Lens or EleutherAI's trainer write them.

    Raises:
        DataError: A file is missing or unreadable, shapes do not fit, or the architecture is not known here.
    """
    path = Path(folder)
    try:
        card = json.loads((path / CONFIG).read_text(encoding="utf-8"))
        stored = next(p for p in (path / WEIGHTS, path / "sae.safetensors") if p.exists())
        tensors = {name: value.float() for name, value in load_file(stored).items()}
    except (OSError, ValueError, StopIteration, SafetensorError) as error:
        raise DataError(
            "an autoencoder cannot be read",
            where=str(path),
            value=str(error) or "no weights file",
            why="its features are wanted",
            do=f"give a folder with {CONFIG} and {WEIGHTS}",
        ) from error
    if "encoder.weight" in tensors:  # EleutherAI's names
        tensors = {
            "W_enc": tensors["encoder.weight"].T.contiguous(), "b_enc": tensors["encoder.bias"],
            "W_dec": tensors["W_dec"], "b_dec": tensors["b_dec"],
        }  # fmt: skip
        card = {**card, "architecture": "topk"}
    return _checked(_from_card(card, tensors, path), path)


def _from_card(card: dict, tensors: dict[str, Tensor], path: Path) -> SAE:
    """An autoencoder from a configuration of either age (``activation_fn`` or ``architecture``)."""
    kwargs = card.get("activation_fn_kwargs") or {}
    old = str(card.get("activation_fn_str") or card.get("activation_fn") or "relu")
    kind = str(card.get("architecture", "standard"))
    activation = {
        "standard": "topk" if old == "topk" else "relu",
        "topk": "topk",
        "jumprelu": "jumprelu",
    }.get(kind)
    scaling = str(card.get("normalize_activations") or "none")
    missing = sorted(set(NAMES.values()) - set(tensors))
    if activation is None or scaling not in ("none", "layer_norm", "constant_norm_rescale") or missing:
        raise DataError(
            "an autoencoder of this kind is not understood",
            where=str(path),
            value=(kind, scaling, missing),
            why="its features would be wrong",
            do="use a standard, topk or jumprelu autoencoder without input statistics",
        )
    return SAE(
        **{key: tensors[name] for key, name in NAMES.items()},
        activation=activation,  # type: ignore[arg-type]
        k=int(card.get("k") or kwargs.get("k") or 0),
        threshold=tensors.get("threshold"),
        centred=bool(card.get("apply_b_dec_to_input", True)),
        scaling=scaling,  # type: ignore[arg-type]
        by_norm=bool(card.get("rescale_acts_by_decoder_norm", False)),
        meta=dict(card.get("metadata") or {key: card[key] for key in ("model_name", "hook_name") if key in card}),
    )


def _checked(sae: SAE, path: Path) -> SAE:
    d, features = len(sae.bias), sae.features
    fits = tuple(sae.encoder.shape) == (d, features) and tuple(sae.decoder.shape) == (features, d)
    if not fits or (sae.activation == "topk" and not 0 < sae.k <= features):
        raise DataError(
            "the shapes of an autoencoder do not fit",
            where=str(path),
            value=(tuple(sae.encoder.shape), tuple(sae.decoder.shape), d, sae.k),
            why="W_enc is [d, features], W_dec [features, d], k between 1 and the features",
            do="fetch the files again",
        )
    if sae.activation == "jumprelu" and sae.threshold is None:
        raise DataError("a jumprelu autoencoder has no threshold", where=str(path), do="fetch the files again")
    return sae

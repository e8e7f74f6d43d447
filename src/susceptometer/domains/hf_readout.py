"""The output layer of a language model, found by measuring how logits follow from the last hidden state."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from susceptometer.posterior.kernel import Readout, linear_cross_entropy, token_losses


@dataclass(frozen=True)
class Head:
    """logits = softcap(scale * (hidden W^T) + b).

    Args:
        module: The output layer (``weight [V, d]``, ``bias [V]`` or None).
        scale: Factor on the hidden state.
        softcap: Or None.
        precision: Of the matrix products; see ``posterior.kernel``.
    """

    module: nn.Module
    scale: float
    softcap: float | None
    precision: str

    def losses(self, hidden: Tensor, targets: Tensor, changed: dict[str, Tensor]) -> Tensor:
        """Losses ``[chains, n]`` of ``hidden [chains, n, d]``; ``changed`` weights are ``[chains, ...]``."""
        hidden = hidden if self.scale == 1 else hidden * self.scale
        if not changed:
            return self._one(hidden.flatten(0, 1), targets.reshape(-1), {}).view(targets.shape)
        return torch.stack([
            self._one(part, chosen, {key: value[chain] for key, value in changed.items()})
            for chain, (part, chosen) in enumerate(zip(hidden, targets, strict=True))
        ])  # fmt: skip

    def _one(self, hidden: Tensor, targets: Tensor, changed: dict[str, Tensor]) -> Tensor:
        weight = changed.get("weight", self.module.weight)
        bias = changed.get("bias", self.module.bias)
        if not torch.is_grad_enabled():
            return token_losses(hidden, Readout(weight, bias, self.softcap, self.precision), targets)
        settings = {"softcap": self.softcap, "precision": self.precision}
        return linear_cross_entropy(hidden, weight, targets, bias=bias, **settings)


@torch.no_grad()
def measured_head(model: PreTrainedModel, precision: str) -> Head | None:
    """The output layer of ``model`` (a skeleton), checked on three tokens; None if it has another form."""
    module = model.get_output_embeddings()
    tokens = torch.arange(3, device=model.device)[None] % module.weight.shape[0]
    hidden = model.base_model(input_ids=tokens, use_cache=False)[0]
    logits = model(input_ids=tokens, use_cache=False).logits
    if hidden.shape[-1] != module.weight.shape[-1]:
        return None
    cap = getattr(model.config, "final_logit_softcapping", None)
    uncapped = logits if cap is None else cap * torch.atanh(logits / cap)
    product = nn.functional.linear(hidden, module.weight)
    rest = uncapped if module.bias is None else uncapped - module.bias
    scale = float((rest * product).sum() / product.square().sum())
    scale = 1.0 if abs(scale - 1) < 1e-4 else scale
    head = Head(module, scale, cap, precision)
    again = Readout(module.weight, module.bias, cap).logits((hidden * scale).flatten(0, 1))
    return head if torch.allclose(again, logits.flatten(0, 1), rtol=1e-4, atol=1e-5) else None

"""Planned weights in a Hugging Face training run: the weighted next-token loss, and a Trainer that uses it.

Needs ``accelerate`` (``pip install 'susceptometer[trainer]'``). Nothing else of the package imports this file.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import Trainer

from susceptometer.errors import DataError


def weighted_next_token_loss(
    logits: Tensor, labels: Tensor, weights: Tensor, *, tokens_in_step: Tensor | int | None = None
) -> Tensor:
    r"""Mean over counted targets of weight x loss, a scalar in nats.

        sum_t w_t l_t [label_t counted] / number of counted targets

    The divisor is the number of targets, never the sum of weights, so weights of mean one keep the learning rate, and
    micro-batches of one step add up to the step's own mean.

    Args:
        logits: ``[rows, K, vocabulary]``.
        labels: ``[rows, K]``; -100 is not counted. Target of position t is label t + 1.
        weights: ``[rows, K - 1]`` per target, or ``[rows]``.
        tokens_in_step: Counted targets of all micro-batches of the step (as the Trainer gives it); None: of this one.

    Raises:
        DataError: The weights fit neither rows nor targets.
    """
    targets = labels[:, 1:]
    if weights.shape not in {targets.shape, targets.shape[:1]}:
        raise DataError(
            "weights do not fit the labels",
            where="weighted_next_token_loss",
            value=f"weights {tuple(weights.shape)}, labels {tuple(labels.shape)}",
            why="each target has its own weight, or each row",
            do="give [rows, K - 1] or [rows]",
        )
    losses = F.cross_entropy(logits[:, :-1].float().transpose(1, 2), targets, reduction="none", ignore_index=-100)
    spread = weights.to(losses).reshape(weights.shape + (1,) * (2 - weights.ndim))
    count = (targets != -100).sum() if tokens_in_step is None else torch.as_tensor(tokens_in_step)
    return (spread * losses).sum() / count.to(losses).clamp(min=1)


class WeightedTrainer(Trainer):
    """A `transformers.Trainer` whose data set gives ``weights`` beside ``input_ids`` (and ``labels``).

    Build the data set with `DataWeights.dataset`, and pass ``remove_unused_columns=False`` in the arguments, since the
    model itself has no input of that name. Rows without ``labels`` are their own labels. Evaluation uses weights where
    the data set has them.
    """

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """The weighted loss of one micro-batch; without weights, the Trainer's own."""
        if "weights" not in inputs:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        plain = {name: value for name, value in inputs.items() if name not in {"weights", "labels"}}
        labels = inputs.get("labels", plain["input_ids"])
        outputs = model(**plain)
        loss = weighted_next_token_loss(outputs.logits, labels, inputs["weights"], tokens_in_step=num_items_in_batch)
        return (loss, outputs) if return_outputs else loss

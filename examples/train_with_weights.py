"""Train a Hugging Face model on token rows with planned weights, one per token.

python examples/train_with_weights.py MODEL ROWS.npy WEIGHTS.parquet OUT   rows are token ids [rows, K]
"""

import sys

import numpy as np
import torch
from transformers import AutoModelForCausalLM, TrainingArguments

import susceptometer as sm
from susceptometer.train.hf_trainer import WeightedTrainer

folder, rows, weights, out = sys.argv[1:5]
tokens = torch.from_numpy(np.load(rows))
planned, negative = sm.load_weights(weights).without_negative("clip")  # says what happens to negative weights
arguments = TrainingArguments(
    out, max_steps=20, learning_rate=1e-4, per_device_train_batch_size=4, remove_unused_columns=False,
    report_to=[], save_strategy="no", use_cpu=not torch.cuda.is_available(), disable_tqdm=True,
)  # fmt: skip
model = AutoModelForCausalLM.from_pretrained(folder)
data = planned.dataset({"input_ids": tokens, "labels": tokens})
print(f"{negative.mean():.1%} of the weights were negative; effective size {1 / np.mean(planned.values**2):.2f}")
print(WeightedTrainer(model=model, args=arguments, train_dataset=data).train())
model.save_pretrained(out)

"""Which of my training rows strengthen this head? Weights for a Hugging Face model of your own.

python examples/plan_for_your_model.py MODEL TEXT PART OUT   e.g. my-model/ corpus.jsonl 1:3 weights.parquet
"""

import sys

import susceptometer as sm

model, text, part, out = sys.argv[1:5]
subject = sm.language.load(model, data=text, plan=sm.language.TextPlan(length=64, data_rows=8, base_rows=8))
chains = sm.Schedule(groups=4, burn_in=10, draws=10, thin=2)  # sm.calibrate(subject, part, ...) finds step and lengths
sampler = sm.LeimkuhlerMatthews(step_size=1e-3)
recipe = sm.Recipe(sampler=sampler, schedule=chains, n_beta=30, gamma=300, coupling=sm.coupled(), batch_rows=4)
reading = sm.read_here(subject, subject.components.match(part), recipe, seed=0)
plan = sm.plan(reading, {reading.components[0]: -1e-4})  # E[L - L(w*)] shall fall: data that pin the head down more
print(plan)
print(sm.local_check(plan, subject, recipe, seed=1))  # the posterior re-sampled under these weights, before training
plan.weights(subject.data).save(out)

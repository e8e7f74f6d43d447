"""Systems whose local posterior is known exactly: calibrate samplers and estimators on them.

Modules are imported by path, for example ``from susceptometer.testbed import gaussian``:

- ``quadrature``  one- and two-dimensional grids on which exact means are sums
- ``form``        quadratic functions, normal laws and their joint moments
- ``gaussian``    quadratic losses: posterior, learning coefficient, susceptibility, influence
- ``minibatch``   random quadratic systems and the noise of their mini-batch gradients
- ``lyapunov``    the exact law of every linear sampler at a finite step
- ``pathwise``    what coupled chains at n_beta (1 +- h) must return
- ``transient``   closed forms for SGLD along one curvature at a time
- ``crossing``    normal crossings: singular minima at finite n_beta
- ``linear``      products of weight matrices: loss, gradient, balanced centre
- ``rank``        two linear layers (reduced-rank regression)
- ``deep_linear`` any number of linear layers
- ``mixture``     Gaussian mixtures that collapse onto one component
- ``logistic``    two weights of a logistic model

Every system that can be sampled has ``center`` (w*, a dict of tensors), ``data`` (the
rows whose mean loss is L) and ``loss(params, batch) -> [rows, *event]`` (unreduced, deterministic,
differentiable, fit for ``torch.func.vmap``): the fields of a subject, so any sampler runs on it.
"""

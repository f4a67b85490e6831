"""AdAdaGrad: AdaGrad whose batch grows until it is large enough."""

from __future__ import annotations

import torch

from explorer.base.tensors import column, leaves, total_norms, zeros_like
from explorer.optimizers.base import Leafwise
from explorer.optimizers.fields import positive, rate, small


class Accumulated(Leafwise):
    """What both share: gradients pile up until their mean can be trusted, and only then is there a step."""

    theta = positive(1.0, "Tolerance θ of the norm test: the mean's standard error over its norm, at most.", 0.05, 20)
    max_batches = positive(8.0, "Batches after which a step is taken in any case.", 1, 64)

    def init_state(self, params, seed):
        zeros = torch.zeros(len(seed), dtype=params[0].dtype, device=params[0].device)
        return {"sum": zeros_like(params), "norms": zeros, "batches": zeros.clone()}

    def updates(self, state, params, gradients):
        total, norms, k = state["sum"], state["norms"], state["batches"]
        for s, g in zip(leaves(total), leaves(gradients), strict=True):
            s.add_(g)
        norms.add_(total_norms(gradients).square_())
        k.add_(1)
        θ, most = self.symbols("theta", "max_batches", like=k)
        squared_mean = (total_norms(total) / k).square_()
        variance = (norms - k * squared_mean) / (k - 1).clamp_(min=1)
        ready = ((k > 1) & (variance / k <= θ**2 * squared_mean)) | (k >= most)
        means = [s * column(ready / k, like=s) for s in leaves(total)]
        updates = self.descend(state, means)
        going = ~ready
        for tensor in (*leaves(total), norms, k):
            tensor.mul_(column(going, like=tensor))
        return updates

    def descend(self, state, means):
        """The updates along the mean gradients, which are zero where the batch is not yet large enough."""
        raise NotImplementedError


class AdAdaGrad(Accumulated):
    r"""AdAdaGrad: AdaGrad with a batch that grows until the gradient's error is small beside the gradient.

    Here the challenge fixes the batch, so the adaptive one is *accumulated*: updates are zero while batches' gradients
    $g_1 … g_k$ pile up, until their mean $\bar g$ passes the norm test (or k reaches its bound); AdaGrad then steps
    along $\bar g$.

    $$ \frac{1}{k(k-1)}\sum_{i=1}^{k} \lVert g_i - \bar g\rVert^2 \le \theta^2 \lVert \bar g\rVert^2, \qquad
       G \leftarrow G + \bar g^2, \quad \theta \leftarrow \theta - \frac{\eta}{\sqrt{G} + \varepsilon}\,\bar g $$

    A variance takes two batches, so no step is made of fewer unless `max_batches` is 1, which is plain AdaGrad.

    State: `sum` of the gradients piled up, and `squares` $G$, shaped as the parameters; `norms`, the sum of their
    squared norms, and `batches`, their number k, one number a run.

    Reference: Lau, Liu, Kolar: AdAdaGrad: Adaptive Batch Size Schemes for Adaptive Gradient Methods, 2024.
    """

    key = "adadagrad"

    lr = rate(3e-3, "Learning rate η: the first step of every weight.")
    eps = small(1e-10, "Added to the root ε, in units of the gradient.")

    def init_state(self, params, seed):
        return super().init_state(params, seed) | {"squares": zeros_like(params)}

    def descend(self, state, means):
        updates = []
        for mean, squares in zip(means, leaves(state["squares"]), strict=True):
            η, ε = self.symbols("lr", "eps", like=mean)
            squares.addcmul_(mean, mean)
            root = squares.sqrt().add_(ε)
            updates.append(torch.where(mean == 0, 0, mean * -η / root))
        return updates


class AdAdaGradNorm(Accumulated):
    r"""AdAdaGrad-Norm: AdaGrad-Norm with a batch that grows until the gradient's error is small beside the gradient.

    The batch is accumulated as in AdAdaGrad: updates are zero until the mean $\bar g$ of k batches' gradients passes
    the norm test.

    $$ \frac{1}{k(k-1)}\sum_{i=1}^{k} \lVert g_i - \bar g\rVert^2 \le \theta^2 \lVert \bar g\rVert^2, \qquad
       b^2 \leftarrow b^2 + \lVert\bar g\rVert^2, \quad \theta \leftarrow \theta - \frac{\eta}{b}\,\bar g $$

    State: `sum` of the gradients piled up, shaped as the parameters; `norms`, the sum of their squared norms,
    `batches`, their number k, and `squares` $b^2$, one number a run.

    Reference: Lau, Liu, Kolar: AdAdaGrad: Adaptive Batch Size Schemes for Adaptive Gradient Methods, 2024.
    """

    key = "adadagrad_norm"

    lr = rate(0.3, "Learning rate η: the first step's length over all weights, if b₀ is small.")
    b0 = positive(1e-2, "Start b₀ of the root of the sum, in units of the gradient.", 1e-8, 1e2)

    def init_state(self, params, seed):
        state = super().init_state(params, seed)
        (b0,) = self.symbols("b0", like=seed)
        return state | {"squares": torch.zeros_like(state["norms"]) + b0**2}

    def descend(self, state, means):
        b = state["squares"].add_(total_norms(means).square_()).sqrt()
        (η,) = self.symbols("lr", like=b)
        return [mean * column(-η / b, like=mean) for mean in means]

"""An optimizer of your own, in the challenge's three functions.

Run it:    explorer train --plugin THIS_FILE
Check it:  explorer check THIS_FILE

Many runs train at once: every tensor has a leading axis R, one entry a run, and run 2 must not look at run 1.
`model_params` is a list: weight [R, out, in] and bias [R, out] of every linear layer, then weight, bias, running_mean
and running_var [R, width] of every batch norm.  Do not write into it, nor into `gradients`.  Some of it may be frozen,
and running statistics are not yours to train: gradients are zero there, and what you return for them is ignored.

Here: gradient descent with momentum, one step's length for each tensor.
"""

import torch

LEARNING_RATE = 0.003
MOMENTUM = 0.9


def optimizer_init_state(seed, param_sizes, model_params):
    """What your optimizer remembers: anything you like, changed in place later.

    seed: int64 [R].  param_sizes: elements of each tensor of one run.  model_params: the start.
    """
    return {"momentum": [torch.zeros_like(param) for param in model_params]}


def optimizer_query_at_params(state, model_params, epoch, train_loss, val_loss):
    """Where this batch's gradient should be taken: tensors like `model_params`, or None for right there."""
    return None


def optimizer_step(state, model_params, gradients, epoch, train_loss, val_loss):
    """What to *add* to `model_params`: as many tensors, of the same shapes.

    epoch: from 0.  train_loss, val_loss: the last epoch's, [R]; None in the first.
    """
    updates = []
    for param, gradient, momentum in zip(model_params, gradients, state["momentum"], strict=True):
        momentum.mul_(MOMENTUM).add_(gradient)
        each = tuple(range(1, param.dim()))  # every axis but the runs'
        size = momentum.square().mean(dim=each, keepdim=True).sqrt()
        updates.append(-LEARNING_RATE * momentum / (size + 1e-8))
    return updates

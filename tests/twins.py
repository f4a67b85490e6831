"""Two ways to compute the same networks, side by side: `StackedMLP` in float64 is the one that the other must meet."""

import torch

import explorer as ex
from explorer.challenge.model import StackedMLP, initialize

RUNS, CPU = 3, torch.device("cpu")


def refreshing(key, interval):
    """The hyperparameters by which an optimizer refreshes something every so many steps, if it does such a thing."""
    return {"interval": interval} if "interval" in ex.optimizers.get(key).fields() else {}


def distance(found, expected):
    """‖found − expected‖ / ‖expected‖."""
    found, expected = found.double().cpu(), expected.double().cpu()
    return ((found - expected).norm() / expected.norm()).item()


def agree(found, expected, within, what=""):
    """Tensor by tensor: floats that are not all zero differ by `within` of their norm at most, all else not at all."""
    for one, other in zip(found, expected, strict=True):
        if other.dtype.is_floating_point and other.any():
            assert distance(one, other) < within, what
        else:
            assert torch.equal(one, other), what


def agrees_with_stacked(make, tracked=True, **fields):
    """A batch of 40 and an evaluation, by the float32 network that `make` makes of a challenge: losses, gradients and
    statistics are the stacked one's."""
    challenge = ex.Challenge.preset("tig", batch_size=64, val_size=50, test_size=40, **fields)
    found = []
    for dtype in (torch.float64, torch.float32):
        torch.manual_seed(0)
        network = StackedMLP(challenge, RUNS, CPU, dtype) if dtype is torch.float64 else make(challenge)
        network.gradients.buffer.fill_(0)
        params = network.layout.zeros(RUNS, CPU, torch.float64)
        initialize(challenge, params, torch.arange(RUNS))
        params.flat.add_(0.05 * torch.randn_like(params.flat))
        params = type(params)(params.layout, params.buffer.to(dtype))
        x = torch.randn(RUNS, 90, challenge.input_dims, dtype=torch.float64).to(dtype)
        y = torch.randn(RUNS, 90, challenge.output_dims, dtype=torch.float64).to(dtype)
        # The last batch of 1000 samples in batches of 64 has 40.
        squared = network.train_batch(params, x[:, :40], y[:, :40], params if tracked else None)
        losses = torch.empty(2, RUNS, dtype=dtype)
        network.losses(params, x, y, losses)
        found.append([squared.sum(0), losses, params.buffer, *network.gradients])
    for plain, other in zip(*found, strict=True):
        assert distance(other, plain) < 1e-5 if plain.any() else not other.any()

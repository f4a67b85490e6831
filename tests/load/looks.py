"""What looking costs, as a share of training time, all in one process and in turns.

    python tests/load/looks.py [epochs]

Hidden views cost what every epoch does for them whether they are shown or not: the film's frames.  "Inside" costs a
look every so many epochs, at its default interval; "Function" one a refresh (200 ms) at most.  An epoch's and a look's
time is the median over all, so that what else the machine does counts little; the film's is the mean, since few epochs
have a frame.
"""

import sys
import time

import numpy as np

import explorer as ex
from explorer.training import Fleet
from explorer.training.film import Film
from explorer.training.inside import InsideLook, inside_sample
from explorer.training.probes import FunctionLook, function_sample


def timed(work, *arguments) -> float:
    """Milliseconds that a call takes."""
    began = time.perf_counter()
    work(*arguments)
    return 1e3 * (time.perf_counter() - began)


def main(epochs: int) -> None:
    for seeds, layers in ((1, 4), (1, 10), (8, 4), (8, 10)):
        challenge = ex.Challenge.preset("tig", num_hidden_layers=layers, patience=1000)
        fleet = Fleet(challenge, ex.optimizers.create("adam"), range(seeds), device="cpu")
        film = Film()
        fleet.advance()
        inside_sample(fleet, 0), function_sample(fleet, FunctionLook())  # the first looks make what others use
        training, filming, inside, function = [], [], [], []
        for epoch in range(epochs):
            training.append(timed(fleet.advance))
            filming.append(timed(film.offer, fleet))
            if epoch % 4 == 0:
                inside.append(timed(inside_sample, fleet, 0))
                function.append(timed(function_sample, fleet, FunctionLook()))
        step = float(np.median(training))
        print(
            f"R = {seeds}, {layers} layers: training {step:.1f} ms an epoch; "
            f"hidden views {np.mean(filming) / step:.2%}, Inside {np.median(inside) / InsideLook().every / step:.1%}, "
            f"Function {np.median(function):.1f} ms a look",
            flush=True,
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 60)

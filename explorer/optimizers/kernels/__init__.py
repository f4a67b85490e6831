"""Triton kernels of optimizers; imported only where one runs, since not every machine has Triton."""

"""The kernels: products, steps, and the loops forward and backward."""

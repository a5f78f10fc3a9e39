"""The data: MNIST, as arrays."""

from qnn_jax.datasets.mnist import Mnist, load_mnist

__all__ = ['Mnist', 'load_mnist']

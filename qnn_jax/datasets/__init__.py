"""The data, as arrays: MNIST, the six clusters of Table 3 and XOR."""

from qnn_jax.datasets.clusters import Clusters, make_clusters
from qnn_jax.datasets.mnist import Mnist, load_mnist
from qnn_jax.datasets.xor import Xor, make_xor

__all__ = ["Clusters", "Mnist", "Xor", "load_mnist", "make_clusters", "make_xor"]

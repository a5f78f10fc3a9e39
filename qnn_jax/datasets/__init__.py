"""Data sets as arrays: images with class labels, the six clusters of Table 3, and XOR."""

from qnn_jax.datasets.clusters import Clusters, make_clusters
from qnn_jax.datasets.images import Dataset, load_dataset
from qnn_jax.datasets.splits import Description, Images, describe, open_split
from qnn_jax.datasets.xor import Xor, make_xor

__all__ = [
  "Clusters",
  "Dataset",
  "Description",
  "Images",
  "Xor",
  "describe",
  "load_dataset",
  "make_clusters",
  "make_xor",
  "open_split",
]

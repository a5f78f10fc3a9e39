"""Networks whose layers are chosen by name: the papers' classifier, a CNN, and both from a config.

`Classifier` and `ConvNet` are modules like any other. `Network` says in a few values which of them with
which sizes, `build` makes it for a data set's images, and `matched` finds the width that gives it a
wanted number of parameters. `register` gives a network of your own a name.
"""

from qnn_jax.models._build import (
  Network,
  build,
  count_parameters,
  described,
  kinds,
  matched,
  register,
)
from qnn_jax.models._classifier import Classifier, Mlp
from qnn_jax.models._convnet import ConvNet
from qnn_jax.models._layer import ACTIVATIONS, make_conv, make_layer

__all__ = [
  "ACTIVATIONS",
  "Classifier",
  "ConvNet",
  "Mlp",
  "Network",
  "build",
  "count_parameters",
  "described",
  "kinds",
  "make_conv",
  "make_layer",
  "matched",
  "register",
]

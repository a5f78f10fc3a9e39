"""Networks whose layers are chosen by name: the papers' classifier, a CNN, and both from a config.

`Classifier` and `ConvNet` are ordinary NNX modules. A `Network` describes one of them in a few values.
`build` makes the module that a `Network` describes, for the images of a data set. `matched` finds the
width at which a network has a given number of parameters. `register` gives a network of your own a name.
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

"""A network trained on any data set of images: an MLP or a small CNN, each of whose layers may be quadratic.

Source: none; the paper proposes quadratic final layers for CNNs, and this is where they are tried.

  python -m experiments.train                                    a CNN on 5,000 images of MNIST, 3 epochs
  python -m experiments.train --config.head=qnn --workdir=results/train-qnn          another head
  python -m experiments.train --sweep.head=ann,qnn,rpqnn,heavy,lowrank --workdir=results/heads-tried
  python -m experiments.train --config=configs/train.py:digits   8 x 8 digits, an MLP
  python -m experiments.train --config=configs/train.py:smoke    seconds, to see that it runs

To write a config of your own, start from the values of this file and change some:

  from configs import train

  def get_config(preset=""):
    config = train.get_config()
    config.dataset, config.data_dir, config.resize = "tf_flowers", "/data/tfds", (64, 64)
    config.train_size = 0  # all images, instead of 5,000
    return config

The names that you can use: networks mlp and cnn; the heads and kinds of layers of `qnn_jax.heads`; the optimisers
and schedules of optax; splits as TFDS writes them, such as "train[:90%]".
"""

import ml_collections

from qnn_jax.errors import InputError


def get_config(preset: str = "") -> ml_collections.ConfigDict:
  """A CNN on 5,000 images of MNIST; preset 'digits' trains on 8 x 8 digits, 'smoke' takes seconds."""
  if preset not in ("", "digits", "smoke"):
    raise InputError(f"configs/train.py has no preset '{preset}'; choose digits, smoke or none")
  config = ml_collections.ConfigDict()
  # Data: any TFDS data set of images with class labels.
  config.dataset = "mnist"
  config.data_dir = ""  # a TFDS directory; empty: data/tfds of the checkout
  config.train_split = "train"
  config.validation_split = ""  # for early stopping: "train[90%:]" with train_split "train[:90%]"
  config.test_split = "test"
  config.train_size = 5000  # images that each seed draws from the training split; 0: all images
  config.resize = ()  # (height, width) to which every image is resized; (): as they are
  config.input_shift = 0.5  # inputs are x / 255 - input_shift
  # The network.
  config.network = "cnn"  # or mlp
  config.channels = (8, 16)  # of the convolutions, each followed by 2 x 2 pooling; for cnn only
  config.hidden = (32,)  # neurons of the hidden layers before the head
  config.head = "ann"  # the kind of the last layer: ann, qnn, rpqnn, heavy, lowrank, lowrank:8
  config.hidden_kinds = ("ann",)  # kinds of the hidden layers: one for all, or one per layer
  config.conv_kinds = ("ann",)  # kinds of the convolutions: one for all, or one per layer
  config.kernel_size = 3
  config.activation = "relu"
  # The total number of parameters, reached by the width of the last hidden layer. 0: widths as above.
  config.parameters = 0
  config.dtype = "float32"  # of the arithmetic; with bfloat16, parameters stay in float32
  # The training.
  config.loss = "softmax"  # or sigmoid, the paper's loss (25)
  config.label_smoothing = 0.0
  config.optimizer = "adamw"
  config.optimizer_arguments = ""  # its further arguments, such as "b1=0.8, nesterov=True"
  config.learning_rate = 0.001
  config.quadratic_learning_rate = 0.0  # learning rate of quadratic parameters; 0: the same rate
  config.schedule = "constant"
  config.schedule_arguments = ""
  config.warmup_steps = 0
  config.weight_decay = 0.0
  config.clip = 0.0  # largest norm of a gradient; 0: no limit
  config.batch_size = 50
  config.epochs = 3
  config.seeds = 1
  # Evaluation, logs and checkpoints.
  config.evaluate_every = 1  # epochs between two tests; 0: only at the end
  config.patience = 0  # stop after this many tests without a lower validation loss; 0: never
  config.log_every = 20  # steps between two lines of metrics.jsonl; 0: no metrics
  config.checkpoint_seconds = 30.0  # seconds between two checkpoints
  config.loaders = 2  # threads that decode images
  config.keep_params = False  # True: keeps the trained network, and its last checkpoint
  if preset == "digits":
    config.dataset = "digits"
    config.network = "mlp"
    config.train_size = 0
    config.epochs = 20
    config.batch_size = 32
  elif preset == "smoke":
    config.train_size = 200
    config.channels = (4,)
    config.hidden = (8,)
    config.epochs = 1
    config.test_split = "test[:10%]"
  return config

"""A network with quadratic layers, trained on any data set of images."""

"""Final layers of equal size beside each other, in an MLP and in a CNN."""

"""Compares final layers of equal size, in an MLP and in a CNN."""

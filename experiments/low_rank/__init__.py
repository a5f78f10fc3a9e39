"""A full Q trained on MNIST and its low-rank approximations: how many directions does its accuracy need?"""

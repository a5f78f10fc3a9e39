"""Full Q, trained on MNIST, and its nearest of low rank: how many directions its accuracy needs."""

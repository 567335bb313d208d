"""Learning: draws to train on, networks, losses, training."""

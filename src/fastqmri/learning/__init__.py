"""What networks need: draws of tissue and signals, networks, losses, training, weights, and checks at run time."""

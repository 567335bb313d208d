"""Cases of signal models, one module a family."""

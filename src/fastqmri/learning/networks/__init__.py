"""Networks, each general in its channels and sizes."""

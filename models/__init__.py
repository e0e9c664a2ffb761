"""Networks, and all that must be the same in training and in use."""

"""Learning embedding weights; never touches a gallery."""

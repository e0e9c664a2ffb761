"""A factory of rendered people: labelled tracklets, multi-camera video and detector frames from one seed."""

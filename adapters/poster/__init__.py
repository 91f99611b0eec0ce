"""Poster: the point of sale that knows loyalty groups and the clients in them."""

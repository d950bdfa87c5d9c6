"""Moves clients to other gateways: when this gateway drains, and when discovery rebalances."""

"""Measurements of Roost beside other software that does the same."""

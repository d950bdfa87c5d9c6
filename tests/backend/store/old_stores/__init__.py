"""Stores that 0.1.1 made, and what it told clients then: the input of `test_conversion`."""

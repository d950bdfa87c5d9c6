"""Applications to learn from; the tests run them."""

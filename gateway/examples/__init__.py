"""Example applications; the tests run them."""

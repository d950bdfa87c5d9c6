"""Benchmarks and load tests of Roost, and the tools that they share with the tests."""

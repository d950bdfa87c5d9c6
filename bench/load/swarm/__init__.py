"""The locust users of `bench/locustfile.py`: very many clients that idle, and what they noticed."""

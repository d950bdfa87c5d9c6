"""The locust users of `bench/load/locustfile.py`: very many idle clients, and what they observed."""

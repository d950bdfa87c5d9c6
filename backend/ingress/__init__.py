"""The client protocol on top of a gateway.

`application` speaks it, `live` remembers requests, `delivery` sends results.
"""

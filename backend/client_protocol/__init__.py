"""The client protocol on top of a gateway.

`application` knows who speaks, `requests` what they asked for, `live` remembers it, `delivery` sends results.
"""

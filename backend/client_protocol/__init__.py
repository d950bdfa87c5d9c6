"""The client protocol on top of a gateway.

`application` identifies clients and decodes their messages, `requests` handles their requests, `active_requests` keeps
the live ones, `delivery` sends results, and `poll_schedule` decides when the gateway polls for finished requests.
"""

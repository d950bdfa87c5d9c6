"""The job protocol between clients and a gateway, as an application that runs in the gateway.

`application` identifies clients and decodes their messages, `requests` handles their requests, `active_requests` keeps
the live ones, `delivery` sends results, and `poll_schedule` decides when the gateway polls for finished requests.
"""

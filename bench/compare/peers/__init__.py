"""Echo servers made with other libraries, to be measured beside Roost's.

Each follows the example in the documentation of its library. It is a program that prints ``listening PORT`` and serves
until it is ended. Keepalive pings are as the library sends them by default. Two more programs are no echo servers:
`bare_pings` and `scrapy_crawl`.
"""

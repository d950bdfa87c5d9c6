"""Echo servers made with other libraries, each as its own documentation writes one, to be measured beside ours.

Each is a program that prints ``listening PORT`` and serves until it is ended. Keepalive pings are left as the library
has them.
"""

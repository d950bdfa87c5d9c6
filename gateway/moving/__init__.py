"""Moving clients to other gateways: when this one drains, and when discovery asks for it."""

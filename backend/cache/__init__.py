"""The shared cache: the port, and two engines (embedded and Redis). Jobs stay correct when it loses data."""

"""Message queues between services: the port, the queues that Roost uses, and two engines (embedded and RabbitMQ)."""

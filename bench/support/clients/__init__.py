"""Load clients: very many WebSocket connections from few processes."""

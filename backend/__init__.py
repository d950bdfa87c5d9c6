"""Jobs: who splits them, who does the pieces, who keeps them, and the client protocol on top of a gateway."""

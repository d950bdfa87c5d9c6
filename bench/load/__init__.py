"""The product under load: very many clients, restarts, attackers, the lock servers' decisions."""

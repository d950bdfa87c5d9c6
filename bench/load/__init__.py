"""Load tests of Roost: very many clients, restarts, attackers, and the decisions of lock servers."""

"""How fast a host may be asked, agreed on by all workers: robots.txt, delays, and at most eight requests at a time."""

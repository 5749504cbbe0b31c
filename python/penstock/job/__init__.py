"""``penstock run``: rows in, records out, through any death."""

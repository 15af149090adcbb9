"""The tracker core: swarms, keys, whitelist, counters and the order of the rules. It knows no other room."""

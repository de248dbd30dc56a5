"""Where the coordinator keeps the map, the promised epochs, the operations and the journal."""

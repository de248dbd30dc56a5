"""The commands of the line port as pure functions: a keyspace and arguments in, a reply out."""

"""The line port of a server: telnet, redis-cli and every program that speaks to Redis."""

"""The messages of the three families as values: no bytes layout, no transport.

Mutable attrs classes, because they are made on the path of every request and `frozen` costs 2.4 times as much.
"""

"""twistedkv: a replicated, self-healing key-value store on Twisted.

`twistedkv.client.Client` is the client for Twisted programs, `twistedkv.blocking.Client` the one for all others.
"""

__version__ = "0.1.0"

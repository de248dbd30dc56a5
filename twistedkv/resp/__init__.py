"""RESP, the protocol of Redis, versions 2 and 3: requests, replies, and nothing of what they mean."""

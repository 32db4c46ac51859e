"""The service's stand-in: a pure app, scripted faults, small videos, a loopback server."""

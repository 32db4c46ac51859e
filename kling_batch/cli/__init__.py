"""The commands: the only place that prints, asks, exits and builds the parts."""

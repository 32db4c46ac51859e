"""kling-batch: a declarative batch runner for Kling 3.0 Motion Control."""

__version__ = "0.1.0"

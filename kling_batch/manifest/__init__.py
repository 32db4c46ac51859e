"""Text to Manifest: reading with places, the schema, expansion, prompts, problems."""

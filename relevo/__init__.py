"""What runs at a desk or in CI, outside the engine. Nothing in the Pulumi program imports it."""

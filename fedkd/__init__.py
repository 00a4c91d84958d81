"""fedkd."""

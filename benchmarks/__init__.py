"""The speed of fedkd's engines against their floor and their peer; see `README.md`."""

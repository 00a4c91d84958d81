"""The `fedkd` command line: parse, call, print."""

"""Run folders on disk: files, the log of rounds, snapshots, arrays. Imports no torch."""

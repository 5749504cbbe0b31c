"""What every room needs: sizes, strict JSON, files, child processes, the environment."""

"""What a machine can do: probe, kept figures, correction by a run, machines in the package."""

"""What a machine can do: probe, correction by a run, and machines that come with the package."""

"""The native engine: what it takes, how it is opened and fed, and its process."""

"""The model outside of this package: as a file that other runtimes read."""

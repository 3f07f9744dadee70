"""The same run as a script or config of another trainer, with the versions that it was written for."""

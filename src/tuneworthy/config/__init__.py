"""The project file: one typed section a table; unknown keys are errors."""

from tuneworthy.config.project import FILE_NAME, Project, load

__all__ = ["FILE_NAME", "Project", "load"]

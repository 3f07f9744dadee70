"""Distillation: questions answered by a pinned teacher, as an import."""

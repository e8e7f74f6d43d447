"""Worked sciences: models, data and probes that hand over a subject."""

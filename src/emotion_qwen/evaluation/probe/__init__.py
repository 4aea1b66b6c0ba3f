"""Dose-response tests of models that read faces: rendered faces whose emotion and intensity are set."""

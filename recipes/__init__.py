"""How whole models are made with the package; not part of the wheel."""

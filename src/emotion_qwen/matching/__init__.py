"""Read emotion labels from free text: what a text states, where a reply gives its answer, and which label it is."""

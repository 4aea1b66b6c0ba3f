"""From free text to an emotion label: what a text states, where a reply gives its answer, and which label that is."""

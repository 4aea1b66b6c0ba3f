"""Score answers: plain records of items and answers in, a frozen result with intervals and failures out. No torch."""

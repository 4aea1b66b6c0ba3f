"""Path to report: the engine, scoring, the analyzer, and how a report looks."""

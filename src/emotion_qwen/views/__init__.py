"""Present a report to people: as text, page, picture or video."""

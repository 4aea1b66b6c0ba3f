"""What people read: a report as text, page, picture or video."""

"""A server around one model: OpenAI's chat protocol, reports of emotion, and a page for people."""

"""Views: a trace as text, as a page, and as the reason why it was slow."""

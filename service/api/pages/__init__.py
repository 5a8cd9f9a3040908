"""The dashboard's routes: each reads what a page shows, and has `service.web` render it."""

"""The dashboard: templates, style sheet, ES modules, what fills the templates. Its routes are `service.api.pages`."""

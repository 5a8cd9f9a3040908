"""Workers."""

from service.api.pages.base import pages

router = pages()

"""The pages: rendered here with what they show first; the browser asks the API for the rest."""

from fastapi import APIRouter

from web.pages import account, administration, browsing, cases, searching
from web.pages.rendering import error_page

__all__ = ["error_page", "router"]

router = APIRouter()
for _part in (account, browsing, searching, cases, administration):
    router.include_router(_part.router)

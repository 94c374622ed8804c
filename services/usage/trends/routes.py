"""`/api/admin/usage/trends`, for administrators of the platform."""

from fastapi import APIRouter

from services.usage.dependencies import Usage
from services.usage.trends.schemas import TrendsOut
from shared.http import AdminOnly

admin = APIRouter(prefix="/api/admin/usage/trends", tags=["admin"])


@admin.get("")
async def get_trends(_who: AdminOnly, usage: Usage) -> TrendsOut:
    """Stored bytes and monthly traffic of all tenants: averages of one, and how they change in 30 days."""
    return await usage.trends.read()

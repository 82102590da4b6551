from rest_framework.permissions import BasePermission, DjangoModelPermissions
from rest_framework.request import Request

from smoke.models import is_smoke_user


class ModelPermissions(DjangoModelPermissions):
    """Django's model permissions, for reading as well."""

    perms_map = DjangoModelPermissions.perms_map | {
        "GET": ["%(app_label)s.view_%(model_name)s"],
        "HEAD": ["%(app_label)s.view_%(model_name)s"],
    }


class SmokeUserOnly(BasePermission):
    def has_permission(self, request: Request, view) -> bool:
        return is_smoke_user(request.user)

from django.conf import settings
from django.core.checks import Error, Tags, register


@register(Tags.security, deploy=True)
def jwt_signing_key_is_long(app_configs, **kwargs) -> list[Error]:
    if len(settings.SIMPLE_JWT["SIGNING_KEY"].encode()) >= 32:
        return []
    return [
        Error("JWT_SIGNING_KEY is shorter than 32 bytes.", hint="Generate a random one.", id="prestamos.E001")
    ]

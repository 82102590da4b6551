"""What the process environment says, validated as a whole: one error names everything that is missing."""

import dj_database_url
import environs
import marshmallow
from django.core.exceptions import ImproperlyConfigured
from environs import Env

_GIVEN = marshmallow.validate.Length(min=1, error="Environment variable empty.")


def _database(url: str) -> dict:
    # Many projects fall back to SQLite in silence; this one does not know it.
    try:
        config = dj_database_url.parse(url, conn_max_age=60, conn_health_checks=True)
    except ValueError:
        config = {}
    if config.get("ENGINE") != "django.db.backends.postgresql" or not config["HOST"] or not config["NAME"]:
        raise environs.ValidationError("Not a PostgreSQL URL with host and database name.")
    return config


def read() -> dict:
    """The settings that come from the environment. In production (`DEBUG` off) nothing has a fallback
    that matters; with `DEBUG` on only the database has none.
    """
    env = Env(eager=False)
    env.add_parser("postgresql", _database)
    debug = env.bool("DEBUG", False)

    def fallback(value: object) -> dict:
        return {"default": value} if debug else {}

    values = {
        "DEBUG": debug,
        "SECRET_KEY": env.str("SECRET_KEY", validate=_GIVEN, **fallback("development-only-" * 3)),
        "JWT_SIGNING_KEY": env.str("JWT_SIGNING_KEY", validate=_GIVEN, **fallback("development-only-" * 3)),
        "DATABASE": env.postgresql("DATABASE_URL"),
        "REDIS_URL": env.str("REDIS_URL", validate=_GIVEN, **fallback(None)),
        "ALLOWED_HOSTS": env.list("ALLOWED_HOSTS", validate=_GIVEN, **fallback(["localhost", "127.0.0.1"])),
        "CORS_ALLOWED_ORIGINS": env.list("CORS_ALLOWED_ORIGINS", validate=_GIVEN, **fallback([])),
        "RELEASE": env.str("RELEASE", "unreleased"),
        "INSTANCE": env.str("INSTANCE", "unnamed"),
        "STATIC_ROOT": env.path("STATIC_ROOT", None),
        "MEDIA_ROOT": env.path("MEDIA_ROOT", None),
        "LOG_LEVEL": env.log_level("LOG_LEVEL", "INFO"),
        "SECURE_SSL_REDIRECT": env.bool("SECURE_SSL_REDIRECT", not debug),
        "USE_X_FORWARDED_HOST": env.bool("USE_X_FORWARDED_HOST", False),
        "SECURE_HSTS_SECONDS": env.int("SECURE_HSTS_SECONDS", 0 if debug else 365 * 24 * 3600),
    }
    try:
        env.seal()
    except environs.EnvValidationError as error:
        faults = " ".join(f"{name}: {' '.join(messages)}" for name, messages in error.error_messages.items())
        raise ImproperlyConfigured(f"The environment is not complete. {faults}") from None
    return values

from django.db import migrations
from django.db.models.functions import Upper


def upper_case(apps, schema_editor):
    apps.get_model("assets", "Asset").objects.update(code=Upper("code"))


class Migration(migrations.Migration):
    """How a code was written before is lost, so there is no way back."""

    dependencies = [("assets", "0003_rename_location")]

    operations = [migrations.RunPython(upper_case)]

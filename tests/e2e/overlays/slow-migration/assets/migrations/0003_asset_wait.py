from django.db import migrations


class Migration(migrations.Migration):
    """Keeps the database busy for twenty seconds, but locks nothing."""

    dependencies = [("assets", "0002_asset_location")]

    operations = [migrations.RunSQL("SELECT pg_sleep(20)", migrations.RunSQL.noop)]

from django.db import migrations


class Migration(migrations.Migration):
    """Does nothing, and its reverse keeps the database busy for twenty seconds."""

    dependencies = [("assets", "0002_asset_location")]

    operations = [migrations.RunSQL("SELECT 1", "SELECT pg_sleep(20)")]

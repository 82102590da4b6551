from rest_framework import serializers

from audit.models import AuditEntry


class AuditEntrySerializer(serializers.ModelSerializer):
    class Meta:
        model = AuditEntry
        fields = [
            "id",
            "at",
            "actor",
            "action",
            "subject_type",
            "subject_id",
            "detail",
            "request_id",
            "smoke",
        ]
        read_only_fields = fields

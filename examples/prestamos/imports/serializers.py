from rest_framework import serializers

from imports.models import Import


class ImportSerializer(serializers.ModelSerializer):
    class Meta:
        model = Import
        fields = ["id", "kind", "rows", "imported_by", "imported_at"]
        read_only_fields = fields


class UploadSerializer(serializers.Serializer):
    file = serializers.FileField()

    def validate_file(self, value):
        if value.size > 5 * 1024 * 1024:
            raise serializers.ValidationError("Bigger than 5 MB.")
        return value


class FaultSerializer(serializers.Serializer):
    row = serializers.IntegerField(allow_null=True)
    column = serializers.CharField(allow_null=True)
    field = serializers.CharField(allow_null=True)
    message = serializers.CharField()


class FaultsSerializer(serializers.Serializer):
    errors = FaultSerializer(many=True)

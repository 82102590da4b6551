"""Logs and metrics of a resource, sent to the workspace of the stack."""

from __future__ import annotations

from collections.abc import Sequence

import pulumi
from pulumi_azure_native import monitor


def diagnostics(
    parent: pulumi.Resource,
    name: str,
    resource_id: pulumi.Input[str],
    workspace_id: pulumi.Input[str],
    *,
    logs: bool = True,
    metrics: Sequence[str] = ("AllMetrics",),
) -> None:
    """All log categories (the group `allLogs`) and the given metric categories of one resource.

    Azure refuses a setting that names what the resource's type does not have ("Supported resource log
    categories", "Supported metrics"). Retention is the workspace's: that of diagnostic settings is retired.
    """
    monitor.DiagnosticSetting(
        name,
        name="relevo",
        resource_uri=resource_id,
        workspace_id=workspace_id,
        logs=[monitor.DiagnosticsLogSettingsArgs(category_group="allLogs", enabled=True)] if logs else [],
        metrics=[
            monitor.DiagnosticsMetricSettingsArgs(category=category, enabled=True) for category in metrics
        ],
        opts=pulumi.ResourceOptions(parent=parent),
    )

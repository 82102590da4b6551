"""What keeps data from being deleted: in the engine, and in Azure for whoever does not ask the engine."""

from __future__ import annotations

from collections.abc import Sequence

import pulumi
from pulumi_azure_native import authorization

from components.azure.place import Place


def guarded(
    parent: pulumi.Resource, place: Place, *, ignore_changes: Sequence[str] = ()
) -> pulumi.ResourceOptions:
    """Options of what holds data. Protected, it can be neither destroyed nor replaced by a plain `up`."""
    return pulumi.ResourceOptions(
        parent=parent,
        protect=place.guard,
        retain_on_delete=place.guard,
        ignore_changes=list(ignore_changes),
    )


def lock(
    parent: pulumi.Resource, name: str, place: Place, resource: pulumi.CustomResource, reason: str
) -> None:
    """A CanNotDelete lock on `resource`, where the place is guarded.

    What lies below inherits it: to remove a role assignment or a diagnostic setting of a locked resource,
    the lock must go first ("Lock your resources to protect your infrastructure").
    """
    if not place.guard:
        return
    authorization.ManagementLockByScope(
        name,
        scope=resource.id,
        lock_name="relevo-keep",
        level=authorization.LockLevel.CAN_NOT_DELETE,
        notes=reason,
        # Not protected, so that an `up` without the guard removes it. What it is on is protected, so that a
        # destroy is refused before it begins with the locks.
        opts=pulumi.ResourceOptions(parent=parent),
    )
